"""``python -m trine_wsgi``."""

from trine_wsgi import main

main()
