<?php
// Heads that say something out of the ordinary.
switch ($_GET['kind']) {
    case 'type': header('Content-Type: application/json'); echo '{}'; break;
    case 'length': header('Content-Length: 3'); echo 'abc'; break;
    case 'server': header('Server: own'); header('Date: Thu, 01 Jan 1970 00:00:00 GMT'); echo 'x'; break;
    default: header('Content-Type: text/plain'); echo 'plain';
}
