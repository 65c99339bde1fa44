#!/usr/bin/perl
# A FastCGI application in Perl: says what it was asked on a socket of its own, request after request.
use strict;
use warnings;
use FCGI;

my $socket = FCGI::OpenSocket($ARGV[0], 10);
my %environment;
my $request = FCGI::Request(\*STDIN, \*STDOUT, \*STDERR, \%environment, $socket);
my $count = 0;
while ($request->Accept() >= 0) {
    $count++;
    my $body = '';
    read(STDIN, $body, $environment{CONTENT_LENGTH}) if $environment{CONTENT_LENGTH};
    if ($environment{QUERY_STRING} eq 'warn') { print STDERR "perl has something to say\n"; }
    print "Content-Type: text/plain\r\nX-Count: $count\r\n\r\n";
    print "$environment{REQUEST_METHOD} $environment{PATH_INFO} ", length($body), "\n";
    if ($environment{QUERY_STRING} eq 'who') {
        print "$environment{REMOTE_USER} $environment{AUTH_METHOD} $environment{ROLE} '$environment{TOLD}'\n";
    }
    print 'p' x 200_000 if $environment{QUERY_STRING} eq 'long';
}
