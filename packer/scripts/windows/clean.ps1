# The last step before the AMI is made: forget what must not be shared, and seal the machine. Packer's
# connection stays; after the reseal nobody can log in with its key.
$ErrorActionPreference = 'Stop'

# From now on logins get a POSIX shell.
New-ItemProperty -Path 'HKLM:\SOFTWARE\OpenSSH' -Name DefaultShell -PropertyType String -Force `
  -Value "$env:ProgramFiles\Git\bin\bash.exe" | Out-Null

Remove-Item -Force -ErrorAction SilentlyContinue "$env:ProgramData\ssh\ssh_host_*"
Remove-Item -Force -ErrorAction SilentlyContinue "$env:ProgramData\ssh\administrators_authorized_keys"
Remove-Item -Recurse -Force -ErrorAction SilentlyContinue "$env:TEMP\*"
foreach ($log in @('Application', 'System')) {
  wevtutil.exe clear-log $log
}
Optimize-Volume -DriveLetter C -ReTrim

$launch = "$env:ProgramFiles\Amazon\EC2Launch\EC2Launch.exe"
& $launch reset --block
if ($LASTEXITCODE -ne 0) {
  throw "EC2Launch reset ended with $LASTEXITCODE"
}
& $launch sysprep --block
if ($LASTEXITCODE -ne 0) {
  throw "EC2Launch sysprep ended with $LASTEXITCODE"
}
