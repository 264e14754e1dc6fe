"""An Amazon account on loopback, with real SSH guests. README.md is the contract; `__main__` the composition."""
