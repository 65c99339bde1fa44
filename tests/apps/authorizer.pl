#!/usr/bin/perl
# A FastCGI authorizer in Perl: lets pass who brings the right word, and says who that is.
use strict;
use warnings;
use FCGI;

my $socket = FCGI::OpenSocket($ARGV[0], 10);
my %environment;
my $request = FCGI::Request(\*STDIN, \*STDOUT, \*STDERR, \%environment, $socket);
while ($request->Accept() >= 0) {
    my $role = $environment{FCGI_ROLE} || '';
    my $told = join ',', grep { exists $environment{$_} } qw(CONTENT_LENGTH PATH_INFO PATH_TRANSLATED SCRIPT_NAME);
    my $word = $environment{HTTP_X_WORD} || '';
    if ($word eq 'right') {
        print "Status: 200 OK\r\nVariable-AUTH_METHOD: word\r\nVariable-REMOTE_USER: ann\r\n";
        print "Variable-ROLE: $role\r\nVariable-TOLD: $told\r\n\r\nnot for the client";
    } elsif ($word eq 'none') {
        print "Status: 401 Unauthorized\r\nWWW-Authenticate: Word\r\nContent-Type: text/plain\r\n\r\nsay the word";
    } else {
        print "Status: 402 Payment Required\r\nX-Price: 5\r\nContent-Type: text/html\r\n\r\n<p>pay</p>";
    }
}
