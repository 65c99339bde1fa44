<?php
// `size` bytes, in pieces of 8,000, with the length told in front if `told` is there.
$left = (int)$_GET['size'];
header('Content-Type: application/octet-stream');
if (isset($_GET['told'])) header("Content-Length: $left");
while ($left > 0) {
    $piece = min(8000, $left);
    echo str_repeat('p', $piece);
    flush();
    $left -= $piece;
}
