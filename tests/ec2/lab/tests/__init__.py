"""The lab's own tests. They need only the lab: `cd tests/ec2 && ../../.venv/bin/python -m unittest discover -t . -s lab/tests`."""
