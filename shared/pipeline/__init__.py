"""The steps of a job and the runner that moves it from one to the next."""
