"""What all tests share: nothing is judged by how long it takes, for machines are busy. Speed is measured in bench/."""

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
