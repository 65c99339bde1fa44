<?php
// What a request came with, one variable to a line, then its body. Arguments order the rest of the answer.
header('Content-Type: text/plain; charset=utf-8');
if (isset($_GET['status'])) http_response_code((int)$_GET['status']);
if (isset($_GET['to'])) header('Location: ' . $_GET['to'], true, (int)($_GET['status'] ?? 302));
if (isset($_GET['error'])) error_log('told: ' . $_GET['error']);
foreach (['one', 'two'] as $value) if (isset($_GET['twice'])) setcookie($value, $value);
ksort($_SERVER);
foreach ($_SERVER as $name => $value) {
    if (!is_array($value) && !in_array($name, ['REQUEST_TIME', 'REQUEST_TIME_FLOAT', 'HOME', 'USER', 'PATH'])) {
        echo "$name=$value\n";
    }
}
echo 'body ', strlen(file_get_contents('php://input')), ' ', md5(file_get_contents('php://input')), "\n";
