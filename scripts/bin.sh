# Where the environment's commands are, on Windows and elsewhere.
if [ -d .venv/Scripts ]; then BIN=.venv/Scripts; else BIN=.venv/bin; fi
