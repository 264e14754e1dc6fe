//! The settings of EC2 providers, of which an operator names any number: `providers.ec2.NAME`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::kind::{Choice, Count, FilePath, Kind, Length, List, Text};
use super::problem::Source;
use super::reader::Reader;
use super::settings::{Default, Describe, Setting};
use super::value::{AddressChoice, Ec2Config, JumpAddress, JumpConfig};
use crate::model::Span;

/// The section in which they are named.
const SECTION: &str = "providers.ec2";

/// Most providers. Each lists its instances all the time; more than a few is a slip in a template.
const MOST_PROVIDERS: usize = 16;
/// Names stand in tags, events and tables.
const LONGEST_NAME: usize = 32;
/// The name of the provider that is always there.
const TAKEN: &str = "local";

/// Whether a provider may have this name; else what is wrong with it.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    let usable = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if name.is_empty() || name.len() > LONGEST_NAME || !name.bytes().all(usable) {
        return Err(format!(
            "{name:?} is no name for a provider, expected up to {LONGEST_NAME} letters, digits and -"
        ));
    }
    if name == TAKEN {
        return Err(format!("{name:?} is another provider's name"));
    }
    Ok(())
}

/// `providers.ec2.*.region`
pub(super) static REGION: Setting<Text<String>> = Setting {
    key: "providers.ec2.*.region",
    kind: Text::word("an AWS region, as in eu-central-1"),
    default: Default::Required,
    doc: "The region whose machines this provider launches. Images name the provider.",
};

/// `providers.ec2.*.subnets`
pub(super) static SUBNETS: Setting<List<Text<String>>> = Setting {
    key: "providers.ec2.*.subnets",
    kind: List {
        of: Text::word("ids of subnets, as in subnet-0123456789abcdef0"),
        most: 50,
    },
    default: Default::Required,
    doc: "The subnets machines are put into; one in each zone finds the most spot capacity.",
};

/// `providers.ec2.*.security_groups`
pub(super) static SECURITY_GROUPS: Setting<List<Text<String>>> = Setting {
    key: "providers.ec2.*.security_groups",
    kind: List {
        of: Text::word("ids of security groups, as in sg-0123456789abcdef0"),
        most: 5, // EC2's own limit for an interface.
    },
    default: Default::Unset,
    doc: "The security groups of machines; unset, the VPC's default one. SSH must get through.",
};

/// `providers.ec2.*.profile`
pub(super) static PROFILE: Setting<Text<String>> = Setting {
    key: "providers.ec2.*.profile",
    kind: Text::word("the name of a profile"),
    default: Default::Unset,
    doc: "The profile of the shared AWS files; unset, the environment's or the instance's own.",
};

/// `providers.ec2.*.role`
pub(super) static ROLE: Setting<Text<String>> = Setting {
    key: "providers.ec2.*.role",
    kind: Text {
        accepts: "the ARN of a role, as in arn:aws:iam::123456789012:role/dormouse",
        read: read_role,
        print: String::clone,
    },
    default: Default::Unset,
    doc: "A role to take on after logging in, for machines in another account.",
};

/// `providers.ec2.*.endpoint_url`
pub(super) static ENDPOINT_URL: Setting<Text<String>> = Setting {
    key: "providers.ec2.*.endpoint_url",
    kind: Text::url(),
    default: Default::Unset,
    doc: "Where all API calls go, for emulators and private endpoints; unset, the region's own.",
};

/// `providers.ec2.*.installation`
pub(super) static INSTALLATION: Setting<Text<String>> = Setting {
    key: "providers.ec2.*.installation",
    kind: Text {
        accepts: "up to 64 letters, digits and -",
        read: read_installation,
        print: String::clone,
    },
    default: Default::Unset,
    doc: "The tag by which machines are known as ours; unset, one is made and kept in data_dir.",
};

/// `providers.ec2.*.instance_profile`
pub(super) static INSTANCE_PROFILE: Setting<Text<String>> = Setting {
    key: "providers.ec2.*.instance_profile",
    kind: Text::word("the name of an instance profile"),
    default: Default::Unset,
    doc: "The instance profile of machines. Builds can use whatever it allows: safest is none.",
};

/// `providers.ec2.*.address`
pub(super) static ADDRESS: Setting<Choice<AddressChoice>> = Setting {
    key: "providers.ec2.*.address",
    kind: Choice(&[
        ("private", AddressChoice::Private),
        ("public", AddressChoice::Public),
        ("both", AddressChoice::Both),
    ]),
    default: Default::Text("private"),
    doc: "Which of a machine's addresses are tried. A public one costs $0.005 an hour.",
};

/// `providers.ec2.*.ssh_port`
pub(super) static SSH_PORT: Setting<Count> = Setting {
    key: "providers.ec2.*.ssh_port",
    kind: Count {
        min: 1,
        max: 65_535,
    },
    default: Default::Text("22"),
    doc: "Where the SSH servers of machines listen.",
};

/// `providers.ec2.*.jump_host`
pub(super) static JUMP_HOST: Setting<Text<JumpAddress>> = Setting {
    key: "providers.ec2.*.jump_host",
    kind: Text {
        accepts: "an account, a host and a port, as in dormouse@bastion.example.org:22",
        read: JumpAddress::read,
        print: JumpAddress::print,
    },
    default: Default::Unset,
    doc: "A host to go through to reach machines. Goes with jump_key and jump_host_key.",
};

/// `providers.ec2.*.jump_key`
pub(super) static JUMP_KEY: Setting<FilePath> = Setting {
    key: "providers.ec2.*.jump_key",
    kind: FilePath,
    default: Default::Unset,
    doc: "The private key to log in to the jump host with, OpenSSH format, without a passphrase.",
};

/// `providers.ec2.*.jump_host_key`
pub(super) static JUMP_HOST_KEY: Setting<Text<String>> = Setting {
    key: "providers.ec2.*.jump_host_key",
    kind: Text {
        accepts: "a public key as ssh-keyscan prints it, without the host: ssh-ed25519 AAAA…",
        read: read_public_key,
        print: String::clone,
    },
    default: Default::Unset,
    doc: "The key that the jump host must present.",
};

/// `providers.ec2.*.interruption_queue`
pub(super) static INTERRUPTION_QUEUE: Setting<Text<String>> = Setting {
    key: "providers.ec2.*.interruption_queue",
    kind: Text::url(),
    default: Default::Unset,
    doc: "The URL of an SQS queue that gets EC2's interruption notices, as a second way to them.",
};

/// `providers.ec2.*.metadata_url`
pub(super) static METADATA_URL: Setting<Text<String>> = Setting {
    key: "providers.ec2.*.metadata_url",
    kind: Text::url(),
    default: Default::Text("http://169.254.169.254"),
    doc: "Where spot machines read their notices; {address} stands for the machine's address.",
};

/// `providers.ec2.*.poll_interval`
pub(super) static POLL_INTERVAL: Setting<Length> = Setting {
    key: "providers.ec2.*.poll_interval",
    kind: Length {
        min: Span::from_millis(100),
        max: Span::from_secs(60),
    },
    default: Default::Text("1s"),
    doc: "Least time between two listings while machines start. Longer spares the API.",
};

/// All providers that were named, with every problem of each; `None` when one is not in order.
pub(super) fn read(reader: &mut Reader) -> Option<Vec<(String, Ec2Config)>> {
    let named = reader.names(SECTION);
    if let Some((_, source)) = named.get(MOST_PROVIDERS) {
        let message = format!("there are more than {MOST_PROVIDERS} providers");
        reader.refuse_at(source.clone(), SECTION, &message);
    }
    let providers: Vec<_> = named
        .into_iter()
        .map(|(name, source)| {
            let config = read_one(reader, &name, &source)?;
            Some((name, config))
        })
        .collect();
    providers.into_iter().collect()
}

fn read_one(reader: &mut Reader, name: &str, place: &Source) -> Option<Ec2Config> {
    let mut one = Named {
        reader,
        name,
        place,
    };
    let (region, subnets) = (one.need(&REGION), one.need(&SUBNETS));
    let security_groups = one.read(&SECURITY_GROUPS);
    let (profile, role) = (one.read(&PROFILE), one.read(&ROLE));
    let endpoint_url = one.read(&ENDPOINT_URL);
    let installation = one.read(&INSTALLATION);
    let instance_profile = one.read(&INSTANCE_PROFILE);
    let (address, ssh_port) = (one.read(&ADDRESS), one.read(&SSH_PORT));
    let jump = read_jump(&mut one);
    let interruption_queue = one.read(&INTERRUPTION_QUEUE);
    let (metadata_url, poll_interval) = (one.read(&METADATA_URL), one.read(&POLL_INTERVAL));
    Some(Ec2Config {
        region: region?,
        profile,
        role,
        endpoint_url,
        installation,
        subnets: subnets?,
        security_groups: security_groups.unwrap_or_default(),
        instance_profile,
        address: address?,
        jump,
        interruption_queue,
        metadata_url: metadata_url?,
        ssh_port: u16::try_from(ssh_port?).ok()?,
        poll_interval: poll_interval?,
    })
}

/// The jump host, which takes three settings together.
fn read_jump(one: &mut Named<'_>) -> Option<JumpConfig> {
    let address = one.read(&JUMP_HOST);
    let key = one.read(&JUMP_KEY);
    let host_key = one.read(&JUMP_HOST_KEY);
    let settings: [&'static dyn Describe; 3] = [&JUMP_HOST, &JUMP_KEY, &JUMP_HOST_KEY];
    let (given, missing): (Vec<_>, Vec<_>) = settings
        .into_iter()
        .partition(|setting| one.is_given(*setting));
    for setting in missing.into_iter().filter(|_| !given.is_empty()) {
        let key = setting.key_for(one.name);
        let message = format!(
            "is missing beside the others, expected {}",
            setting.accepts()
        );
        one.reader.refuse_at(one.place.clone(), &key, &message);
    }
    Some(JumpConfig {
        address: address?,
        key: key?,
        host_key: host_key?,
    })
}

/// One provider's section.
struct Named<'r> {
    reader: &'r mut Reader,
    name: &'r str,
    /// Where its name stands.
    place: &'r Source,
}

impl Named<'_> {
    fn read<K: Kind>(&mut self, setting: &'static Setting<K>) -> Option<K::Value> {
        self.reader.read_at(setting, setting.key_for(self.name))
    }

    /// As `read`, for a setting that somebody has to give.
    fn need<K: Kind>(&mut self, setting: &'static Setting<K>) -> Option<K::Value> {
        let value = self.read(setting);
        if !self.is_given(setting) {
            let message = format!("is required, expected {}", setting.accepts());
            let key = setting.key_for(self.name);
            self.reader.refuse_at(self.place.clone(), &key, &message);
        }
        value
    }

    /// Whether anybody gave it a value, right or wrong.
    fn is_given(&self, setting: &'static dyn Describe) -> bool {
        self.reader.is_given(&setting.key_for(self.name))
    }
}

fn read_role(text: &str) -> Option<String> {
    let mut parts = text.splitn(6, ':');
    let is_role = parts.next() == Some("arn")
        && parts
            .next()
            .is_some_and(|partition| partition.starts_with("aws"))
        && parts.next() == Some("iam")
        && parts.next() == Some("")
        && parts.next().is_some_and(is_account)
        && parts.next().is_some_and(|rest| rest.starts_with("role/"));
    (is_role && text.bytes().all(|byte| byte.is_ascii_graphic())).then(|| text.to_owned())
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn read_installation(text: &str) -> Option<String> {
    let usable = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (matches!(text.len(), 1..=64) && text.bytes().all(usable)).then(|| text.to_owned())
}

/// Two words and perhaps a comment; the second repeats the first at its beginning (RFC 4253, 6.6).
fn read_public_key(text: &str) -> Option<String> {
    let mut words = text.split_ascii_whitespace();
    let (algorithm, key) = (words.next()?, words.next()?);
    let bytes = STANDARD.decode(key).ok()?;
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let belongs = rest.get(..length)? == algorithm.as_bytes() && rest.len() > length;
    belongs.then(|| format!("{algorithm} {key}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_arns() {
        assert!(read_role("arn:aws:iam::123456789012:role/path/dormouse").is_some());
        assert!(read_role("arn:aws-cn:iam::123456789012:role/x").is_some());
        for text in [
            "dormouse",
            "arn:aws:iam::12:role/x",
            "arn:aws:iam::123456789012:user/x",
        ] {
            assert_eq!(read_role(text), None, "{text}");
        }
    }

    #[test]
    fn public_keys_are_whole() {
        const KEY: &str = "ssh-ed25519 \
            AAAAC3NzaC1lZDI1NTE5AAAAIIagP2c8VeNt4fc5Vvfe2ynSTqSblm1XgN8TjJ8Tlq8a";
        assert_eq!(
            read_public_key(&format!("{KEY} me@here")).as_deref(),
            Some(KEY)
        );
        let cut = KEY.get(..30).unwrap();
        for text in [
            "",
            "ssh-ed25519",
            cut,
            "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIIag",
        ] {
            assert_eq!(read_public_key(text), None, "{text}");
        }
    }
}
