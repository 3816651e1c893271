"""The methods registered with nerfstudio: one module each, whose `method` is a `MethodSpecification`.

This folder is installed as `condense_nerfstudio.method_configs`.
"""
