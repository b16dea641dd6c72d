# Perl's Net::SSH2, which is libssh2.

use strict;
use warnings;
use File::Basename qw(basename);
use Net::SSH2;
use Socket qw(IPPROTO_TCP TCP_NODELAY);

my ($verb, @operands) = @ARGV;
if ($verb eq 'version') {
    my $library = Net::SSH2->version;
    print "$Net::SSH2::VERSION libssh2 $library\n";
    exit 0;
}
shift @operands while $operands[0] =~ /^-[rp]$/;
my $target = pop @operands;

my $ssh = Net::SSH2->new;
$ssh->connect($ENV{SCP_HOST}, $ENV{SCP_PORT}) or $ssh->die_with_error;
# Small pieces would wait 40 ms each.
setsockopt $ssh->sock, IPPROTO_TCP, TCP_NODELAY, 1;
$ssh->auth_publickey($ENV{SCP_USER}, "$ENV{SCP_KEY}.pub", $ENV{SCP_KEY}) or $ssh->die_with_error;
for my $source (@operands) {
    my $place = @operands > 1 ? "$target/" . basename($source) : $target;
    if ($verb eq 'put') {
        $ssh->scp_put($source, $place) or $ssh->die_with_error;
    } else {
        $ssh->scp_get($source, $place) or $ssh->die_with_error;
    }
}
