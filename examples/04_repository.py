"""Asks a repository of condensed scenes everything it can be asked, from Python.

condense repo add REPO SCENE...
python examples/04_repository.py REPO PHOTOGRAPH SCENE "a cat"
"""

import sys
from pathlib import Path

from condense_nerfstudio.keypoints.storage import read_condensed_scene
from condense_nerfstudio.repository.duplicates import duplicates
from condense_nerfstudio.repository.photo_query import PhotoQuestions
from condense_nerfstudio.repository.photograph import read_photograph
from condense_nerfstudio.repository.scene_query import similar_scenes
from condense_nerfstudio.repository.store import Store
from condense_nerfstudio.repository.text_query import TextQuestions

if len(sys.argv) != 5:
    sys.exit(__doc__)
uri, photograph, folder, phrase = sys.argv[1:]
store = Store(uri)

for hit in TextQuestions(store).ask([phrase], top=3).hits:
    print(f"{phrase}: {hit.scene} ({hit.score:.2f}) at {hit.places[0].position}")

taken = PhotoQuestions(store).ask(read_photograph(Path(photograph))).found
print(
    f"{photograph}: taken in {taken.scene} at {taken.camera_to_world[:3, 3]}" if taken else f"{photograph}: not found"
)

for hit in similar_scenes(store, read_condensed_scene(Path(folder)), top=3).hits:
    print(f"{folder}: {hit.scene} ({hit.score:.2f})")

for pair in duplicates(store):
    print(f"{pair.a} and {pair.b} are one place; from {pair.a} to {pair.b}:\n{pair.a_to_b.round(3)}")
