#!/bin/sh
# A CGI script for the tests: what follows its name says what it does.
case "$PATH_INFO" in
/env)
    printf 'Content-Type: text/plain\r\n\r\n'
    env | grep -v '^_=' | grep -v '^PWD=' | sort
    printf 'arguments %s\n' "$#"
    ;;
/body)
    # The body first: nginx stops sending it once the answer has begun.
    size=$(wc -c | tr -d ' ')
    printf 'Content-Type: text/plain\n\n%s\n' "$size"
    ;;
/status) printf 'Status: 404 Not Here\r\nContent-Type: text/plain\r\n\r\nnone\n' ;;
/away) printf 'Location: http://other.test/x\r\n\r\n' ;;
/local) printf 'Location: /cgi/probe.sh/env?from=local\r\n\r\n' ;;
/loop) printf 'Location: /cgi/probe.sh/loop\r\n\r\n' ;;
/words)
    echo 'some words' >&2
    printf 'Content-Type: text/plain\r\n\r\nwords\n'
    ;;
/nothing) exit 3 ;;
/malformed) printf 'no field at all\n\n' ;;
/killed)
    printf 'Content-Type: text/plain\r\n\r\nhalf'
    kill -9 $$
    ;;
/large)
    printf 'Content-Type: text/plain\r\n\r\n'
    head -c 3000000 /dev/zero | tr '\0' 'l'
    ;;
/slow)
    # Something that goes on by itself unless the whole group is ended. Both say who they are.
    sleep 600 &
    echo "$$ $!" > "$SLOW_FILE"
    wait
    ;;
/held)
    # Runs until somebody makes the file.
    echo "$$" >> "$HELD_FILE.running"
    while [ ! -e "$HELD_FILE" ]; do sleep 0.05; done
    printf 'Content-Type: text/plain\r\n\r\nheld\n'
    ;;
*) printf 'Content-Type: text/plain\r\n\r\nprobe %s\n' "$REQUEST_METHOD" ;;
esac
