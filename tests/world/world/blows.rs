//! What befalls machines from outside.

use dormouse::model::{MachineId, Span};
use dormouse::provider::simulated::Which;
use dormouse::remote::Notice;

use super::{World, secs};

impl World {
    pub(crate) fn cut_connections(&self) -> usize {
        let cut = self.remote.cut(None);
        self.settle();
        cut
    }

    /// Takes a machine's instance away, with its connections.
    pub(crate) fn vanish(&self, machine: MachineId) {
        let which = self.which(machine);
        let address = self.cloud.address(which.clone());
        assert!(self.cloud.vanish(which), "{machine} has no instance");
        self.remote.cut(address);
        self.settle();
    }

    /// Boots a machine's instance again, which cuts its connections.
    pub(crate) fn reboot(&self, machine: MachineId) {
        let which = self.which(machine);
        let address = self.cloud.address(which.clone());
        assert!(
            self.cloud.reboot(which, secs(10)),
            "{machine} has no instance"
        );
        self.remote.cut(address);
        self.settle();
    }

    /// A machine's instance, as the cloud knows it.
    pub(crate) fn which(&self, machine: MachineId) -> Which {
        if !self.has_fleet {
            return Which::Machine(machine);
        }
        let machine = self.machine(machine);
        let instance = machine.state.instance();
        let instance = instance.unwrap_or_else(|| panic!("{} has no instance", machine.id));
        Which::Instance(instance.clone())
    }

    /// The provider takes a machine back. With a notice, the machine itself learns of it.
    pub(crate) fn reclaim(&self, machine: MachineId, notice: Option<Span>) {
        let which = self.which(machine);
        let address = self.cloud.address(which.clone());
        assert!(self.cloud.reclaim(which, notice), "{machine} is not there");
        match (notice, address) {
            (Some(span), Some(address)) => {
                let notice = Notice {
                    action: "terminate".to_owned(),
                    at: self.now() + span,
                };
                self.remote.give_notice(address, notice);
            }
            (None, Some(_)) => {
                self.remote.cut(address);
            }
            (_, None) => {}
        }
        self.settle();
    }
}
