# Says of every frame that arrives at an interface of this network namespace from the given MAC address: `MICROSECONDS
# INTERFACE ETHERTYPE`, the time being the kernel's at arrival. What this side sends itself is left out. A raw socket
# and nothing but the Perl that every Debian has.
use strict;
use warnings;
$| = 1;

my $mac = pack 'H12', $ARGV[0] =~ s/://gr;
my ($AF_PACKET, $SOCK_RAW, $ETH_P_ALL, $SIOCGSTAMP, $SIOCGIFNAME, $OUTGOING) = (17, 3, unpack('S', pack('n', 3)), 0x8906, 0x8910, 4);
socket(my $socket, $AF_PACKET, $SOCK_RAW, $ETH_P_ALL) or die "socket: $!";
my $time = "\0" x 16;
ioctl($socket, $SIOCGSTAMP, $time); # the first question turns the time stamps on
print "ready\n";

my %names;
while (defined(my $from = recv($socket, my $frame, 65536, 0))) {
  next if length($frame) < 14 || substr($frame, 6, 6) ne $mac;
  my (undef, undef, $index, undef, $type) = unpack 'S n l S C', $from;
  next if $type == $OUTGOING;
  ioctl($socket, $SIOCGSTAMP, $time) or die "time: $!";
  my ($seconds, $microseconds) = unpack 'q q', $time;
  my $request = pack 'x16 l x20', $index;
  $names{$index} //= ioctl($socket, $SIOCGIFNAME, $request) ? unpack('Z16', $request) : "gone-$index";
  printf "%d%06d %s %04x\n", $seconds, $microseconds, $names{$index}, unpack('n', substr($frame, 12, 2));
}
