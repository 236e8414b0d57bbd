"""JupyterLab in the container: open to who has the token, and to nobody else."""

from __future__ import annotations

from pathlib import Path

HOME = Path.home()
SECRET = Path("/run/secrets/jupyter_token")

c = get_config()  # noqa: F821  # traitlets puts it among the names that a configuration file runs with

# Read here and not handed over, so that it stands in no environment and on no command line. Without one
# Jupyter would make up its own, or ask nobody.
c.IdentityProvider.token = SECRET.read_text(encoding="utf-8").strip()
if not c.IdentityProvider.token:
    raise ValueError(f"{SECRET} is empty")
c.PasswordIdentityProvider.allow_password_change = False
c.ServerApp.allow_unauthenticated_access = False

# All addresses, since Docker publishes none but 127.0.0.1. Requests that come by another name than this
# machine's own are a page's that has made a browser believe that its name is ours.
c.ServerApp.ip = "0.0.0.0"  # noqa: S104  # in a container loopback is out of everybody's reach; the host publishes 127.0.0.1 alone
c.ServerApp.port = 8888
c.ServerApp.port_retries = 0
c.ServerApp.allow_remote_access = False
c.ServerApp.local_hostnames = ["localhost"]
c.ServerApp.open_browser = False
c.ServerApp.allow_root = False
c.ServerApp.quit_button = False

# Of the folders shown, `work` is the one that can be written, so that nothing is saved where it would be lost.
c.ServerApp.root_dir = str(HOME)
c.FileContentsManager.preferred_dir = str(HOME / "work")
# What is thrown away would stay in the volume, where nobody looks.
c.FileContentsManager.delete_to_trash = False
# How somebody has arranged the page outlives the container, as `work` does.
c.LabApp.user_settings_dir = str(HOME / ".taxiway" / "jupyterlab" / "settings")
c.LabApp.workspaces_dir = str(HOME / ".taxiway" / "jupyterlab" / "workspaces")

# Who may run a notebook may run anything, so a terminal opens no door, and the command `taxiway` is at home there.
c.ServerApp.terminals_enabled = True
c.ServerApp.terminado_settings = {"shell_command": ["/bin/bash"]}

# Nobody is told that this runs, and nothing is installed into an image.
c.LabApp.news_url = None
c.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"
c.LabApp.extension_manager = "readonly"
