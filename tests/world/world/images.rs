//! Images that worlds have.

/// An image with Python and a database, the dearer one.
pub(crate) const DEBIAN: &str = "
name: debian
provider: cloud
login: { user: builder }
shapes: [{ name: small, vcpus: 1, memory: 512MiB, price: 0.36 }]
capabilities: { os: debian, python: [3.11.9, 3.12.4], sqlite: 3.40.1, sh: true }
boot_timeout: 60s
";

/// An image with a shell, the cheapest one.
pub(crate) const ALPINE: &str = "
name: alpine
provider: cloud
login: { user: builder }
shapes: [{ name: tiny, vcpus: 1, memory: 256MiB, price: 0.18 }]
capabilities: { os: alpine, sh: true }
boot_timeout: 60s
";

/// An image whose provider knows what it sells: two sizes in two zones on both markets, at 0.36 and
/// 0.72 $/h, spare capacity at half of that.
pub(crate) const LINUX: &str = "
name: linux
provider: cloud
login: { user: builder }
shapes: { types: [small, large] }
capabilities: { os: linux, sh: true }
boot_timeout: 60s
";

/// The same under another name, dearer: what is left when there is nothing for the first.
pub(crate) const BIGGER: &str = "
name: linux-big
provider: cloud
login: { user: builder }
shapes: { types: [medium] }
capabilities: { os: linux, sh: true, big: true }
boot_timeout: 60s
";
