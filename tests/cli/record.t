#!/usr/bin/perl
# pcapwho-record as a user meets it: what it leaves on disk, says and returns.
# Runs in a network and a mount namespace of its own; needs root.
use strict;
use warnings;
use Test::More;
use File::Temp qw(tempdir);
use IO::Socket::INET;
use Socket qw(AF_UNIX SOCK_DGRAM pack_sockaddr_un);
use POSIX qw(:sys_wait_h _exit);

if ($> != 0) {
	plan skip_all => 'needs root: captures, namespaces, a full file system';
}
if (!$ENV{RECORD_T_INSIDE}) {
	$ENV{RECORD_T_INSIDE} = 1;
	exec 'unshare', '-n', '-m', $^X, $0 or die "unshare: $!";
}
system('ip link set lo up') == 0 or die 'ip';

my $build = $ENV{BUILD} // 'build';
my $program = "$build/pcapwho-record";
my $dir = tempdir(CLEANUP => 1);
$ENV{LC_ALL} = 'C';
$ENV{TZ} = 'UTC';

# Runs to the end: (status, stdout, stderr).
sub run {
	my @command = @_;
	my $pid = fork // die;
	if (!$pid) {
		open STDOUT, '>', "$dir/out" or _exit(99);
		open STDERR, '>', "$dir/err" or _exit(99);
		exec { $command[0] } @command or _exit(98);
	}
	waitpid $pid, 0;
	my $status = $? & 127 ? 128 + ($? & 127) : $? >> 8;
	return ($status, slurp("$dir/out"), slurp("$dir/err"));
}

sub slurp {
	my ($path) = @_;
	open my $file, '<:raw', $path or return '';
	local $/;
	return scalar(<$file>) // '';
}

# Starts a recorder and returns once it records.
sub start {
	my ($output, @options) = @_;
	my $log = "$dir/log" . ++our $logs;
	my $pid = fork // die;
	if (!$pid) {
		open STDERR, '>', $log or _exit(99);
		exec $program, '-o', $output, @options or _exit(98);
	}
	my $it = {pid => $pid, log => $log};
	until_true(sub { slurp($log) =~ /recording into/ or waitpid($pid, WNOHANG) == $pid })
		or diag slurp($log);
	return $it;
}

sub until_true {
	my ($what) = @_;
	for (1 .. 1500) {
		my $value = $what->();
		return $value if $value;
		select undef, undef, undef, 0.01;
	}
	return 0;
}

sub finish {
	my ($it, $signal) = @_;
	kill $signal => $it->{pid} if $signal;
	waitpid $it->{pid}, 0;
	$it->{status} = $? & 127 ? 128 + ($? & 127) : $? >> 8;
	$it->{err} = slurp($it->{log});
	return $it->{status};
}

my $sink = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0, Proto => 'udp') or die;
my $source = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $sink->sockport,
	Proto => 'udp') or die;

sub send_packets {
	my ($count, $size) = @_;
	$source->send('x' x $size) for 1 .. $count;
}

sub packets_in {
	my $sum = 0;
	for my $file (@_) {
		my $reader = $file =~ /\.gz$/ ? "zcat '$file' | tcpdump -r - -nn" : "tcpdump -r '$file' -nn";
		my @lines = `$reader 2>$dir/tcpdump`;
		return "tcpdump cannot read $file" if $?;
		$sum += @lines;
	}
	return $sum;
}

sub captured {
	my ($it) = @_;
	my @numbers = $it->{err} =~ /^(\d+) packets captured$/mg; # USR1 prints one too
	return $numbers[-1] // 'no summary';
}

# Every frame's opening and closing line agree, and gzip is whole.
sub snaps_whole {
	for my $file (@_) {
		my @lines = `gzip -dc '$file' 2>&1`;
		return "gzip: $file" if $?;
		return "no header: $file" if $lines[0] ne "pcapwho-snapshot\t1\n";
		my $open = '';
		for (@lines) {
			$open = $1 if /^frame\t(\d+)\t/;
			$open = '' if /^end\t(\d+)\t/ && $1 eq $open;
		}
		return "open frame in $file" if $open ne '';
	}
	return 'whole';
}

sub frames_of {
	my ($file) = @_;
	return map { [(split /\t/)[1, 2, 3, 4, 5]] } grep { /^frame\t/ } `gzip -dc '$file'`;
}

sub custody { map { [split /\t/] } split /\n/, slurp("$_[0]/custody.log") }
sub events { my ($where, $event) = @_; grep { $_->[2] eq $event } custody($where) }

# Each closed file's hash is what the log says.
sub hashes_agree {
	my ($where) = @_;
	for my $line (events($where, 'close'), events($where, 'repair')) {
		my $path = "$where/$line->[3]";
		next if !-e $path || $line->[5] eq '\N';
		my ($hash) = split / /, `sha256sum '$path'`;
		return "$path" if $hash ne $line->[5] || -s $path != $line->[4];
	}
	return 'agree';
}

subtest 'words of the command line' => sub {
	my ($status, $out, $err) = run($program, '--help');
	is $status, 0, '--help is no error';
	like $out, qr/^Usage: /, 'and goes to stdout';
	($status, $out) = run($program, '--version');
	like $out, qr/^pcapwho-record \d/, 'has a version';
	($status, $out, $err) = run($program, '-o', "$dir/no", '--interval', 'soon');
	is $status, 64, 'a bad value is usage';
	like $err, qr/--interval.*"soon"/, 'and names option and value';
	($status, $out, $err) = run($program, '-o', "$dir/no", '-i', 'nosuch0');
	is $status, 66, 'an interface that is not there';
	like $err, qr/"nosuch0" does not exist/, 'is named';
	($status, $out, $err) = run($program, '-o', "$dir/no", '-f', 'tcp prot 3');
	is $status, 64, 'a bad filter';
	like $err, qr/"tcp prot 3"/, 'is named';
	ok !-e "$dir/no", 'none of these made the directory';
	($status, $out, $err) = run('setpriv', '--reuid', '65534', '--clear-groups', $program,
		'-o', '/tmp/pcapwho-record.t.none');
	is $status, 1, 'without privilege it fails';
	like $err, qr/run as root/, 'and says what to do';
};

subtest 'a command' => sub {
	my $where = "$dir/command";
	my ($status, $out, $err) = run($program, '-o', $where, '--', 'sh', '-c',
		'grep NoNewPrivs /proc/self/status; grep CapEff /proc/self/status;'
		. 'ls /proc/self/fd | wc -l; exit 7');
	is $status, 7, 'its status is returned';
	my $bare = (run('sh', '-c', 'ls /proc/self/fd | wc -l'))[1];
	like $out, qr/NoNewPrivs:\t0/, 'it may gain privileges';
	like $out, qr/CapEff:\t[0-9a-f]*[1-9a-f]/, 'it keeps its capabilities';
	like $out, qr/^$bare/m, 'it has no descriptor of ours';
	($status) = run($program, '-o', $where, '--', 'sh', '-c', 'kill -9 $$');
	is $status, 137, '128 + the signal that killed it';
	($status, $out, $err) = run($program, '-o', $where, '--', '/nonexistent');
	is $status, 127, 'a command that is not there';
	my ($first) = glob "$where/000001-*.pcap";
	ok -e glob("$where/000003-*.pcap"), 'numbers go on in the same directory';
	is snaps_whole(glob "$where/*.snap.gz"), 'whole', 'snapshots are whole';
	is((stat $where)[2] & 0777, 0700, 'directory mode');
	is((stat $first)[2] & 0777, 0600, 'file mode');
};

subtest 'signals while a command runs' => sub {
	my $where = "$dir/forward";
	my $it = start($where, '--', 'sh', '-c', 'trap "exit 5" TERM; echo up >&2; while :; do sleep 0.05; done');
	until_true(sub { slurp($it->{log}) =~ /^up$/m });
	is finish($it, 'TERM'), 5, 'TERM is passed on, and the status returned';
	$it = start($where, '--', 'sh', '-c', 'trap "" TERM; echo up >&2; while :; do sleep 0.05; done');
	until_true(sub { slurp($it->{log}) =~ /^up$/m });
	kill TERM => $it->{pid};
	my ($child) = split ' ', slurp("/proc/$it->{pid}/task/$it->{pid}/children");
	until_true(sub { slurp("/proc/$it->{pid}/status") =~ /^ShdPnd:\t0+$/m });
	is finish($it, 'TERM'), 0, 'the second one does not wait for the command';
	kill KILL => $child;
	is_deeply [glob "$where/*.part"], [], 'nothing is left open';
	is snaps_whole(glob "$where/*.snap.gz"), 'whole', 'snapshots are whole';
};

subtest 'systemd is told' => sub {
	socket my $manager, AF_UNIX, SOCK_DGRAM, 0 or die;
	bind $manager, pack_sockaddr_un("$dir/notify") or die;
	local $ENV{NOTIFY_SOCKET} = "$dir/notify";
	my ($status) = run($program, '-q', '-o', "$dir/notified", '--duration', '10ms');
	recv $manager, my $first, 100, 0;
	recv $manager, my $second, 100, 0;
	is "$first $second", 'READY=1 STOPPING=1', 'when it is ready and when it stops';
};

subtest 'the packets of a command, from its first to its last' => sub {
	my $where = "$dir/edge";
	my $code = 'use IO::Socket::INET; my $s = IO::Socket::INET->new(PeerAddr => "127.0.0.1",'
		. ' PeerPort => ' . $sink->sockport . ', Proto => "udp"); $s->send("y") for 1 .. 50;';
	my ($status, $out, $err) = run($program, '-o', $where, '-i', 'lo', '-f', 'udp', '--', $^X, '-e', $code);
	is packets_in(glob "$where/*.pcap"), 50, 'all are there';
	my ($snap) = glob "$where/*.snap.gz";
	my @frames = frames_of($snap);
	is $frames[0][2], 'start', 'first frame: start';
	is $frames[-1][2], 'stop', 'last frame: stop';
	my @times = map { /^(\d+)\.(\d+)/ ? $1 . $2 : () }
		`tcpdump --nano -tt -nn -r @{[glob "$where/*.pcap"]} 2>/dev/null`;
	cmp_ok $frames[0][4], '<', $times[0], 'the key frame was read before the first packet';
	cmp_ok $frames[-1][3], '>', $times[-1], 'the last poll began after the last packet';
};

subtest 'interfaces' => sub {
	# What leaves by v0 comes in by v1.
	system('ip link add v0 type veth peer name v1 && ip link set v1 up && ip link set v0 up'
		. ' && ip addr add 192.0.2.1/24 dev v0'
		. ' && ip neigh add 192.0.2.9 lladdr 02:00:00:00:00:09 dev v0') == 0 or die 'ip';
	my $wire = IO::Socket::INET->new(PeerAddr => '192.0.2.9', PeerPort => 9, Proto => 'udp') or die;
	my %expected = ('any' => 23, 'lo' => 3, 'v0' => 10, 'lo v0' => 13, 'v0 v1' => 20);
	for my $names (sort keys %expected) {
		my $where = "$dir/if-" . $names =~ tr/ /_/r;
		my $it = start($where, '-f', 'udp and ip', map { ('-i', $_) } split / /, $names);
		send_packets(3, 10);
		$wire->send('z') for 1 .. 10;
		finish($it, 'TERM');
		is packets_in(glob "$where/*.pcap"), $expected{$names}, "-i $names";
	}
	like `tcpdump -r @{[glob "$dir/if-v0/*.pcap"]} 2>&1`, qr/link-type EN10MB/,
		'one interface has its own link type';
	system('ip link del v0'); # its neighbour discovery would be counted below
	like `tcpdump -r @{[glob "$dir/if-lo_v0/*.pcap"]} 2>&1`, qr/LINUX_SLL2/, 'several have SLL2';
};

subtest 'signals and rotation' => sub {
	my $where = "$dir/signals";
	my $it = start($where, '--interval', '50ms', '--cpu-budget', '50%');
	send_packets(100, 100);
	kill HUP => $it->{pid};
	ok until_true(sub { grep { !/\.part$/ } glob "$where/000001-*.snap.gz" }), 'HUP closes a segment';
	send_packets(100, 100);
	kill USR1 => $it->{pid};
	ok until_true(sub { slurp($it->{log}) =~ /packets captured/ }), 'USR1 prints statistics';
	is finish($it, 'TERM'), 0, 'TERM ends it cleanly';
	is captured($it), 200, 'all packets captured';
	is packets_in(glob "$where/*.pcap"), 200, 'and in the pcaps';
	is_deeply [glob "$where/*.part"], [], 'nothing is left open';
	is snaps_whole(glob "$where/*.snap.gz"), 'whole', 'snapshots are whole';
	is hashes_agree($where), 'agree', 'hashes of the log';
	# Events come when they come.
	my @first = grep { $_->[1] ne 'event' } frames_of(glob "$where/000001-*.snap.gz");
	my @second = grep { $_->[1] ne 'event' } frames_of(glob "$where/000002-*.snap.gz");
	is $second[0][1], 'key', 'the second segment begins with a key frame';
	is $second[0][2], 'restated', 'which is restated';
	is_deeply [@{$first[-1]}[0, 2]], [$second[1][0], 'rotate'],
		'the poll after the rotation is in both';
	is $second[0][0], $first[-2][0], 'the restated reading is the last before it';
};

subtest 'rotation by size, packets across the boundaries' => sub {
	my $where = "$dir/size";
	my $it = start($where, '--rotate-size', '64K', '--cpu-budget', '50%');
	for (1 .. 20) {
		send_packets(200, 500);
		my $seen = scalar(my @parts = glob "$where/*.pcap*");
		last if $_ > 10 && $seen > 3;
		until_true(sub { (() = glob "$where/*.pcap*") > $seen });
	}
	is finish($it, 'INT'), 0, 'INT ends it cleanly';
	my @pcaps = glob "$where/*.pcap";
	cmp_ok scalar(@pcaps), '>', 3, 'several segments';
	is packets_in(@pcaps), captured($it), 'no packet is lost or doubled';
	is snaps_whole(glob "$where/*.snap.gz"), 'whole', 'snapshots are whole';
	my $late = 0;
	for my $pcap (@pcaps) {
		(my $snap = $pcap) =~ s/pcap$/snap.gz/;
		my @frames = frames_of($snap);
		my @times = map { /^(\d+)\.(\d+)/ ? $1 . $2 : () } `tcpdump --nano -tt -nn -r $pcap 2>/dev/null`;
		next if !@times;
		$late++ if $frames[0][4] > $times[0] || $frames[-1][3] < $times[-1];
	}
	is $late, 0, 'each segment is bracketed by its own snapshots';
};

subtest 'rotation by time without packets' => sub {
	my $where = "$dir/time";
	my $it = start($where, '--rotate-time', '200ms', '-f', 'tcp port 1');
	ok until_true(sub { (() = glob "$where/*.pcap") >= 2 }), 'segments close on a silent link';
	is finish($it, 'TERM'), 0, 'ends';
};

subtest 'one recorder in a directory' => sub {
	my $where = "$dir/lock";
	my $it = start($where);
	my ($status, $out, $err) = run($program, '-o', $where);
	is $status, 1, 'the second one fails';
	like $err, qr/another recorder/, 'and says why';
	is finish($it, 'TERM'), 0, 'the first one does not mind';
};

subtest 'a crash' => sub {
	my $where = "$dir/crash";
	my $it = start($where, '--interval', '50ms', '--cpu-budget', '50%');
	send_packets(300, 100);
	ok until_true(sub { my ($p) = glob("$where/*.pcap.part"); -s $p > 300 * 128 }), 'packets are on disk';
	finish($it, 'KILL');
	my ($part) = glob "$where/*.pcap.part";
	my $kept = packets_in($part);
	open my $torn, '>>', $part or die;
	print $torn "\x01\x02\x03\x04torn";
	close $torn;
	my ($status, $out, $err) = run($program, '-o', $where, '--duration', '100ms');
	is $status, 0, 'the next run';
	like $err, qr/repaired 2 files/, 'says that it repaired';
	is_deeply [glob "$where/*.part"], [], 'nothing is left open';
	is packets_in(glob "$where/000001-*.pcap"), $kept, 'all whole packets are kept';
	is snaps_whole(glob "$where/000001-*.snap.gz"), 'whole', 'all whole frames too';
	my @repairs = events($where, 'repair');
	is scalar(@repairs), 2, 'the log has both';
	like $repairs[0][6], qr/8 bytes cut/, 'and what was cut';
	is hashes_agree($where), 'agree', 'hashes of the log';
};

subtest 'a crash under load' => sub {
	my $where = "$dir/loaded";
	my $it = start($where, '-f', 'udp');
	my ($part) = glob "$where/*.pcap.part";
	for (1 .. 1000) {
		send_packets(20, 60000);
		last if -s $part > 8 << 20;
	}
	finish($it, 'KILL');
	cmp_ok -s $part, '>', 8 << 20, 'packets are on disk while more are coming';
	my ($status, $out, $err) = run($program, '-o', $where, '--duration', '100ms');
	is $status, 0, 'the next run';
	my ($pcap) = glob "$where/000001-*.pcap";
	like packets_in($pcap), qr/^[1-9]\d*$/, 'cuts it to whole packets';
	cmp_ok -s $pcap, '>', (8 << 20) - (1 << 16), 'and only the last one';
	is hashes_agree($where), 'agree', 'hashes of the log';
};

subtest 'a crash before anything was written' => sub {
	my $where = "$dir/empty";
	mkdir $where, 0700;
	my $stem = '000001-20261121T203000.123456789Z';
	for my $suffix ('pcap.part', 'snap.gz.part') {
		open my $file, '>', "$where/$stem.$suffix" or die;
	}
	my ($status, $out, $err) = run($program, '-o', $where, '--duration', '50ms');
	is $status, 0, 'does not stop the next run';
	ok -e "$where/$stem.pcap.damaged", 'the pcap is set aside';
	ok -e "$where/$stem.snap.gz.damaged", 'the snap file too';
	ok -e glob("$where/000002-*.pcap"), 'its number is not used again';
};

subtest 'what is in the way does not stop the start' => sub {
	my $where = "$dir/planted";
	mkdir $where, 0700;
	my $stem = '20261121T203000.123456789Z';
	system 'mkfifo', "$where/000001-$stem.pcap.part", "$where/000002-$stem.snap.gz.part",
		"$where/000003-$stem.pcap", "$where/custody.log";
	open my $file, '>', "$where/999999999999-$stem.pcap" or die;
	close $file;
	my ($status, $out, $err) = run('timeout', '20', $program, '-o', $where, '--duration', '50ms');
	is $status, 0, 'it records';
	like $err, qr/000001-\S+: left alone: not a regular file/, 'the FIFO is told';
	like $err, qr/set aside as custody\.log\.damaged/, 'so is the log that is none';
	like $err, qr/1 names with numbers/, 'and the absurd number';
	ok -p "$where/custody.log.damaged", 'which is still there';
	is scalar(grep { $_->[6] =~ /left alone: not a regular file/ } events($where, 'repair')), 2,
		'the log has them';
	like((events($where, 'start'))[0][6], qr/custody\.log\.damaged/, 'the start names the old log');
	ok !(grep { -e } glob "$where/1000000000000-*"), 'nothing is counted on from the absurd number';
	is hashes_agree($where), 'agree', 'hashes of the log';
};

subtest 'a stop before the recording begins' => sub {
	my $where = "$dir/early";
	mkdir $where, 0700;
	my $part = "$where/000001-20261121T203000.123456789Z.pcap.part";
	open my $file, '>', $part or die;
	print $file pack 'LSSlLLL', 0xa1b23c4d, 2, 4, 0, 0, 262144, 276;
	# Gigabytes of holes, which are to be hashed: it is at it when the signal comes.
	for (1 .. 16384) {
		print $file pack 'LLLL', 1, 1, 262144, 262144;
		seek $file, 262144, 1;
	}
	print $file pack 'LLLLC', 1, 1, 1, 1, 0;
	close $file;
	my $pid = fork // die;
	if (!$pid) {
		open STDERR, '>', "$dir/err" or _exit(99);
		exec $program, '-o', $where or _exit(98);
	}
	ok until_true(sub { -e "$where/custody.log" }), 'it repairs';
	kill TERM => $pid;
	waitpid $pid, 0;
	is $? & 127, POSIX::SIGTERM(), 'TERM ends it at once';
	ok -e $part, 'the repair is for the next run';
};

subtest 'compression' => sub {
	my $where = "$dir/compress";
	my $it = start($where, '--compress');
	send_packets(500, 1000);
	is finish($it, 'TERM'), 0, 'ends';
	is_deeply [glob "$where/*.pcap"], [], 'the plain pcap is gone';
	is packets_in(glob "$where/*.pcap.gz"), 500, 'all packets are in the compressed one';
	is scalar(events($where, 'compress')), 1, 'the log says so';
};

subtest 'quotas' => sub {
	my $where = "$dir/quota";
	for (1 .. 4) {
		my $it = start($where);
		send_packets(100, 1000);
		finish($it, 'TERM');
	}
	is scalar(my @all = glob "$where/*.pcap"), 4, 'without a limit nothing goes';
	# The snap files' sizes are the host's matter: one byte too many.
	my $limit = -1;
	$limit += -s $_ for glob "$where/0*";
	my ($status) = run($program, '-q', '-o', $where, '--keep-size', $limit, '--duration', '50ms');
	my @left = map { m{/(\d+)-} } glob "$where/*.pcap";
	my $gone = 5 - @left;
	cmp_ok $gone, '>', 0, 'with one, some go';
	is_deeply [map { $_ + 0 } @left], [$gone + 1 .. 5], 'the oldest first';
	is scalar(my @snaps = glob "$where/*.snap.gz"), scalar(@left), 'in pairs';
	is scalar(events($where, 'expire')), 2 * $gone, 'each file is logged';
	($status) = run($program, '-q', '-o', $where, '--keep-size', '1K', '--duration', '50ms');
	($status) = run($program, '-q', '-o', $where, '--duration', '50ms');
	ok -e glob("$where/000007-*.pcap"), 'numbers of expired segments are not used again';
};

subtest 'a full disk' => sub {
	my $where = "$dir/full";
	mkdir $where;
	system('mount', '-t', 'tmpfs', '-o', 'size=2m,mode=0700', 'none', $where) == 0 or die 'mount';
	my $it = start($where, '--interval', '50ms', '--cpu-budget', '50%');
	for (1 .. 200) {
		send_packets(50, 1000);
		last if slurp($it->{log}) =~ /not recorded/;
		select undef, undef, undef, 0.02;
	}
	ok until_true(sub { slurp($it->{log}) =~ /packets are not recorded/ }), 'says so';
	my $frames = sub { my @f = `gzip -dc $where/000001-*.snap.gz.part 2>/dev/null | grep -c ^end`; $f[0] // 0 };
	my $before = $frames->();
	ok until_true(sub { $frames->() > $before + 2 }), 'snapshots go on';
	system('mount', '-o', 'remount,size=8m', $where);
	ok until_true(sub { slurp($it->{log}) =~ /recording packets again/ }), 'goes on by itself';
	send_packets(100, 10);
	is finish($it, 'TERM'), 0, 'ends cleanly';
	like $it->{err}, qr/^[1-9]\d* packets lost/m, 'the summary has the loss';
	is packets_in(glob "$where/*.pcap"), captured($it), 'every pcap is whole';
	is snaps_whole(glob "$where/*.snap.gz"), 'whole', 'every snap file too';
	is scalar(events($where, 'pause')), 1, 'the log has the pause';
	is scalar(events($where, 'resume')), 1, 'and the end of it';
	is hashes_agree($where), 'agree', 'hashes of the log';
	system('umount', $where);
};

# Descriptors of a process for the file that are open past the page cache.
sub direct_descriptors {
	my ($pid, $path) = @_;
	my $direct = 040000;    # O_DIRECT, asm-generic/fcntl.h
	return grep { (readlink "/proc/$pid/fd/$_" // '') eq $path &&
		slurp("/proc/$pid/fdinfo/$_") =~ /^flags:\s*(\d+)/m && oct $1 & $direct }
		map { m{(\d+)$} } glob "/proc/$pid/fd/*";
}

subtest 'a full disk that takes writes past the page cache' => sub {
	my ($major, $minor) = `uname -r` =~ /^(\d+)\.(\d+)/;
	$major > 6 || $major == 6 && $minor >= 1
		or plan skip_all => 'before Linux 6.1 no file system says what it takes';
	my $where = "$dir/direct";
	mkdir $where;
	system("truncate -s 24M '$dir/image' && mkfs.ext4 -q '$dir/image' && " .
		"mount -o loop '$dir/image' $where") == 0 or plan skip_all => 'no file system of its own';
	my $it = start("$where/evidence", '--interval', '50ms', '--cpu-budget', '50%', '-f', 'udp');
	my ($begun) = glob "$where/evidence/000001-*.pcap.part";
	is scalar(direct_descriptors($it->{pid}, $begun)), 1, 'written past the page cache';
	my $sent = 0;
	for (1 .. 200) {
		send_packets(20, 60000);
		$sent += 20;
		last if slurp($it->{log}) =~ /not recorded/;
		select undef, undef, undef, 0.005;
	}
	ok until_true(sub { slurp($it->{log}) =~ /packets are not recorded/ }), 'says so';
	my ($part) = glob "$where/evidence/000001-*.pcap*";
	cmp_ok -s $part, '>', 2 << 20, 'after whole pieces';
	is finish($it, 'TERM'), 0, 'ends cleanly';
	my ($lost) = $it->{err} =~ /^(\d+) packets lost/m;
	my ($dropped) = $it->{err} =~ /^(\d+) packets dropped by kernel/m;
	is captured($it) + $lost + $dropped, $sent, 'every packet is captured, lost or dropped';
	is packets_in(glob "$where/evidence/*.pcap"), captured($it), 'every pcap is whole';
	is hashes_agree("$where/evidence"), 'agree', 'hashes of the log';
	system('umount', $where);
};

subtest 'capabilities while it records' => sub {
	my $where = "$dir/caps";
	my $it = start($where);
	my $bad = 0;
	for my $task (glob "/proc/$it->{pid}/task/*") {
		my $status = slurp("$task/status");
		# cap_dac_read_search is 2, cap_sys_ptrace is 19.
		$bad++ if $status !~ /CapEff:\t0*(?:2?80004|2?81004)$/m;
		$bad++ if $status !~ /NoNewPrivs:\t1/;
	}
	is $bad, 0, 'every thread has what the table says';
	finish($it, 'TERM');
	$it = start("$dir/user", '--user', 'nobody');
	like slurp("/proc/$it->{pid}/status"), qr/^Uid:\t65534\t65534/m, '--user';
	is finish($it, 'TERM'), 0, 'can write its files';
};

done_testing;
