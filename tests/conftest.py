"""What all tests share."""

from hypothesis import settings

# A property is true or not, however fast the machine is.
settings.register_profile("product", deadline=None)
settings.load_profile("product")
