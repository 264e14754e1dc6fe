//! What an operator says of one EC2 provider. Reading files is `config`'s job.

use crate::model::{Jump, Span};

/// Where the metadata service is on every instance of EC2.
const METADATA_URL: &str = "http://169.254.169.254";

/// One region of one account, as machines are wanted there.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The name that images refer to.
    pub name: String,
    /// The region, as in `eu-central-1`.
    pub region: String,
    /// The profile of the shared AWS files to log in with; default: what the environment says.
    pub profile: Option<String>,
    /// The ARN of a role to take on after that; default: none.
    pub role: Option<String>,
    /// Where all API calls go; default: the region's own addresses.
    pub endpoint_url: Option<String>,
    /// Which installation of ours this is: the value of the tag by which its things are known.
    /// Things of other installations in the same account are never touched.
    pub installation: String,
    /// The subnets machines are put into, by id; default: each zone's default subnet.
    pub subnets: Vec<String>,
    /// The security groups of machines, by id; default: that of the VPC.
    pub security_groups: Vec<String>,
    /// The name of the instance profile of machines; default: none, which is safest, since builds
    /// can use whatever it allows.
    pub instance_profile: Option<String>,
    /// Which of a machine's addresses are tried; default: the private one.
    pub address: AddressChoice,
    /// A host that connections go through; default: none.
    pub jump: Option<Jump>,
    /// The URL of the SQS queue that an `EventBridge` rule fills with interruption notices; default:
    /// none, then notices are read on the machines alone.
    pub interruption_queue: Option<String>,
    /// Where SSH servers of machines listen; default 22.
    pub ssh_port: u16,
    /// Where machines read what EC2 says of them; `{address}` stands for the machine's address;
    /// default `http://169.254.169.254`.
    pub metadata_url: Option<String>,
    /// Least time between two listings; default 1 s.
    pub poll_interval: Span,
    /// How much of the documented call rates we take, in percent; default 60, since other tools in
    /// the account share them. More than 100 is for accounts whose rates were raised.
    pub share: u32,
}

/// Which of a machine's addresses are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AddressChoice {
    /// The one in its subnet. Machines get a public one only if their subnet gives it to them.
    #[default]
    Private,
    /// The one the world sees, asked for at launch.
    Public,
    /// First the private, then the public one, asked for at launch.
    Both,
}

impl Settings {
    /// The defaults.
    pub fn new(name: &str, region: &str, installation: &str) -> Self {
        Self {
            name: name.to_owned(),
            region: region.to_owned(),
            profile: None,
            role: None,
            endpoint_url: None,
            installation: installation.to_owned(),
            subnets: Vec::new(),
            security_groups: Vec::new(),
            instance_profile: None,
            address: AddressChoice::default(),
            jump: None,
            interruption_queue: None,
            ssh_port: 22,
            metadata_url: Some(METADATA_URL.to_owned()),
            poll_interval: Span::from_secs(1),
            share: 60,
        }
    }
}
