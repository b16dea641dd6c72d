<?php
// phpseclib 2: SSH and SCP in PHP alone.

use phpseclib\Crypt\RSA;
use phpseclib\Net\SCP;
use phpseclib\Net\SSH2;

$operands = array_slice($argv, 1);
$verb = array_shift($operands);
if (!@include 'phpseclib/autoload.php') {
    exit(1);
}
if ($verb === 'version') {
    echo trim(shell_exec("dpkg-query -W -f '\${Version}' php-phpseclib | sed 's/-.*//'") ?: '2'), "\n";
    exit(0);
}
// It quotes with a function that drops what the locale does not know.
setlocale(LC_CTYPE, 'C.UTF-8');
$target = array_pop($operands);

$key = new RSA();
$key->loadKey(file_get_contents(getenv('SCP_RSA_KEY')));
$ssh = new SSH2(getenv('SCP_HOST'), (int) getenv('SCP_PORT'));
if (!$ssh->login(getenv('SCP_USER'), $key)) {
    exit(1);
}
$scp = new SCP($ssh);
foreach ($operands as $source) {
    $place = count($operands) > 1 ? $target . '/' . basename($source) : $target;
    $done = $verb === 'put'
        ? $scp->put($place, $source, SCP::SOURCE_LOCAL_FILE)
        : $scp->get($source, $place);
    if (!$done) {
        exit(1);
    }
}
