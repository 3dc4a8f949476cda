"""Who is known to the sandbox's directory from the start."""

from sandbox.entra.state import Application, Directory, User

WORKER = "00000000-0000-0000-0000-0000000000aa"
WORKER_SECRET = "sandbox-worker-secret"
ADMIN = "00000000-0000-0000-0000-0000000000ad"
ADMIN_SECRET = "sandbox-admin-secret"
SYSTEM_IDENTITY = "00000000-0000-0000-0000-0000000000a1"
ADMIN_USER = User(oid="00000000-0000-0000-0000-00000000ad01", name="Sandbox Administrator", login="administrator@sandbox.example")


def seed(directory: Directory) -> None:
    """Register the worker, the installer (which people may also sign in through) and the system's own identity."""
    directory.user = ADMIN_USER
    directory.applications[WORKER] = Application(WORKER, {WORKER_SECRET})
    directory.applications[ADMIN] = Application(ADMIN, {ADMIN_SECRET}, public=True)
    directory.system_identity = SYSTEM_IDENTITY
    directory.identities |= {SYSTEM_IDENTITY, WORKER}
