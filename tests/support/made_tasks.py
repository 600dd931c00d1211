"""Small eval tasks and their photos."""

from PIL import Image
from skimage import data

from conservator.evals.task import Row, Task

PHOTOS = {"astronaut": data.astronaut(), "coffee": data.coffee(), "chelsea": data.chelsea()}
NOISE = Row(name="noise", recipe="noise:sigma=25")


def photo(name: str = "astronaut", width: int = 64, height: int = 48) -> Image.Image:
    return Image.fromarray(PHOTOS[name]).resize((width, height), Image.Resampling.LANCZOS)


def task(*rows: Row, needs: str = "clean") -> Task:
    return Task.model_validate(
        {
            "id": "t",
            "version": 1,
            "title": "t",
            "needs": needs,
            "rows": rows,
            "systems": ["untouched"],
            "scorers": ["full-reference"],
        }
    )
