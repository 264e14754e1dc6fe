//! What nobody can save: a login to each of as many fresh machines, and `true`.
//!
//! The same SSH library tries each machine as often as the program does, and no more is done with it:
//! no store, no runner, no build. A program per machine, such as `ssh`, would cost more.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_ec2::Client;
use aws_sdk_ec2::config::{BehaviorVersion, Credentials, Region};
use bytes::Bytes;
use dormouse::model::{Endpoint, MachineId, MachineKeys, Span};
use dormouse::remote::{Remote, Ssh, Target, machine_keys};
use tokio::runtime::Runtime;

use super::emulator::Emulator;
use super::watch;

/// As often as a machine is tried by the program.
const PAUSE: Duration = Duration::from_millis(50);
const PATIENCE: Span = Span::from_secs(60);

/// Milliseconds from a listening sshd to the end of `true`, of each machine.
pub(super) fn logins(lab: &Emulator, machines: usize) -> Vec<f64> {
    let runtime = Runtime::new().unwrap();
    let keys = machine_keys(MachineId::from_bits(1), &[1; 32], &[2; 32]).unwrap();
    let client = client(lab);
    let launched = runtime.block_on(launch(&client, lab, &keys, machines));
    let port = u16::try_from(lab.number("ssh_port")).unwrap();
    let logins: Vec<_> = launched
        .iter()
        .map(|(_, address)| {
            let target = Target {
                endpoint: Endpoint {
                    address: SocketAddr::new(*address, port),
                },
                user: "admin".to_owned(),
                client_private: keys.client_private.clone(),
                host_public: keys.host_public.clone(),
                jump: None,
            };
            runtime.spawn(login(target))
        })
        .collect();
    let up = watch(lab, machines);
    let ended = runtime.block_on(futures::future::join_all(logins));
    let measured = launched.iter().zip(ended).map(|((id, _), ended)| {
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of some minutes")]
        let millis = ended.unwrap().saturating_sub(up[id]) as f64 / 1_000.0;
        millis
    });
    let measured = measured.collect();
    let ids = launched.into_iter().map(|(id, _)| id).collect();
    let terminate = client.terminate_instances().set_instance_ids(Some(ids));
    runtime.block_on(terminate.send()).unwrap();
    lab.until_nothing_is_left();
    measured
}

/// When `true` had ended, in microseconds since 1970.
async fn login(target: Target) -> u64 {
    let ssh = Ssh::default();
    let session = loop {
        match ssh.connect(&target, PATIENCE).await {
            Ok(session) => break session,
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    };
    let output = session.command("true", Bytes::new(), PATIENCE).await;
    assert_eq!(output.unwrap().status, Some(0));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    session.close().await;
    u64::try_from(now.as_micros()).unwrap()
}

fn client(lab: &Emulator) -> Client {
    let (id, secret) = (lab.text("access_key_id"), lab.text("secret_access_key"));
    let config = aws_sdk_ec2::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(lab.text("region")))
        .endpoint_url(lab.text("front"))
        .credentials_provider(Credentials::new(id, secret, None, None, "lab"))
        .build();
    Client::from_conf(config)
}

/// Ids and addresses of fresh instances.
async fn launch(
    client: &Client,
    lab: &Emulator,
    keys: &MachineKeys,
    machines: usize,
) -> Vec<(String, IpAddr)> {
    let indented = keys.host_private.expose().replace('\n', "\n    ");
    let user_data = format!(
        "#cloud-config\nssh_keys:\n  ed25519_private: |\n    {indented}\n  ed25519_public: {:?}\n\
         ssh_authorized_keys:\n- {:?}\n",
        keys.host_public.trim(),
        keys.client_public.trim(),
    );
    let image = &lab.ready["parameters"]["/aws/service/debian/release/12/latest/amd64"];
    let count = i32::try_from(machines).unwrap();
    let launch = client
        .run_instances()
        .image_id(image.as_str().unwrap())
        .instance_type("m7i.large".into())
        .subnet_id(&lab.subnets()[0])
        .user_data(aws_smithy_types::base64::encode(user_data))
        .min_count(count)
        .max_count(count);
    let launched = launch.send().await.unwrap();
    let instance = |instance: &aws_sdk_ec2::types::Instance| {
        let address = instance.private_ip_address().unwrap();
        let id = instance.instance_id().unwrap().to_owned();
        (id, address.parse().unwrap())
    };
    launched.instances().iter().map(instance).collect()
}
