<?php
// Has another location answer.
header('X-Accel-Redirect: ' . $_GET['to']);
header('X-Other: kept?');
echo 'not to be seen';
