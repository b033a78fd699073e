#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# Reads KTAP from standard input with TAP::Parser and prints "NAME ok|not-ok|skip" for each test.
# Fails on any line TAP does not know but KTAP's version line, and on any parse error.
use strict;
use warnings;
use TAP::Parser;

local $/;
my $parser = TAP::Parser->new({tap => <STDIN>});
my $failed = 0;
while (my $result = $parser->next) {
    if ($result->is_unknown) {
        next if $result->raw eq 'KTAP version 1';
        warn 'unknown line: ' . $result->raw . "\n";
        $failed = 1;
    } elsif ($result->is_test) {
        my $what = $result->has_skip ? 'skip' : $result->is_actual_ok ? 'ok' : 'not-ok';
        my $name = $result->description;
        # Directives of KTAP that TAP takes for part of the name.
        $name =~ s/\s*\\?#\s*(XFAIL|TIMEOUT|ERROR)\b.*//;
        $name =~ s/^- //;
        print "$name $what\n";
    }
}
for my $error ($parser->parse_errors) {
    warn "parse error: $error\n";
    $failed = 1;
}
if (!$parser->is_good_plan) {
    warn "no good plan\n";
    $failed = 1;
}
exit $failed;
