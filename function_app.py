"""Marks this folder as an app of the Python v2 model: the Functions host looks for this file by its name.

The host then imports the module `function_app` by name, and the package of that name beside this file wins.
So this file is never executed, and nothing but the import below may stand here (a test checks it).
"""

from function_app import app  # noqa: F401
