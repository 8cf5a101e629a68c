//! A valid platform with one thing broken, as one line of a test.

use serde_json::Value;

use crate::{
    SoftTdx, Td,
    recipe::{Authority, Edit, Forged, Form, Omitted, Recipe, Revoked, Window},
    td::attribute,
    valid,
};

/// Broken things may be put together; they are done in the order in which they are named.
#[derive(Clone)]
pub struct Builder {
    seed: [u8; 32],
    number: u32,
    recipe: Recipe,
}

impl Builder {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self {
            seed,
            number: 0,
            recipe: valid::valid(&seed, 0),
        }
    }

    pub fn build(self) -> SoftTdx {
        SoftTdx::made(self.seed, self.number, self.recipe)
    }

    /// Anything that has no name here.
    pub fn edit(mut self, edit: impl FnOnce(&mut Recipe)) -> Self {
        edit(&mut self.recipe);
        self
    }

    // The guest.

    pub fn form(self, form: Form) -> Self {
        self.edit(|recipe| recipe.form = form)
    }

    pub fn td(self, td: Td) -> Self {
        self.edit(|recipe| recipe.td = td)
    }

    /// Another image than the default.
    pub fn image(self, name: &str) -> Self {
        self.td(Td::of(name))
    }

    pub fn debug(self) -> Self {
        self.edit(|recipe| recipe.td.set_attributes(attribute::DEBUG))
    }

    pub fn perfmon(self) -> Self {
        self.edit(|recipe| recipe.td.set_attributes(attribute::PERFMON))
    }

    pub fn migratable(self) -> Self {
        self.edit(|recipe| recipe.td.set_attributes(attribute::MIGRATABLE))
    }

    /// The host may answer for pages that are not there.
    pub fn without_sept_ve_disable(self) -> Self {
        self.edit(|recipe| recipe.td.clear_attributes(attribute::SEPT_VE_DISABLE))
    }

    pub fn xfam(self, xfam: [u8; 8]) -> Self {
        self.edit(|recipe| recipe.td.xfam = xfam)
    }

    /// TDX 1.5 with another guest bound to it.
    pub fn service_td(self) -> Self {
        self.form(Form::V5Td15)
            .edit(|recipe| recipe.td.mr_service_td = [0x5e; 48])
    }

    /// Security version of the TDX module: 4 and more are up to date, 2 and 3 out of date.
    pub fn module_svn(self, svn: u8) -> Self {
        self.edit(|recipe| recipe.td.tee_tcb_svn[0] = svn)
    }

    /// A module that somebody else than Intel signed.
    pub fn other_module_signer(self) -> Self {
        self.edit(|recipe| recipe.td.mr_signer_seam = [0x5e; 48])
    }

    // The platform.

    /// Another root and all below it. Its names are the same.
    pub fn other_root(mut self) -> Self {
        self.seed[31] ^= 0xff;
        self
    }

    /// Another machine of this root: other keys, PPID and instance.
    pub fn other_platform(mut self, number: u32) -> Self {
        self.number = number;
        let other = valid::valid(&self.seed, number).platform;
        self.edit(|recipe| {
            recipe.platform.ppid = other.ppid;
            recipe.platform.instance = other.instance;
        })
    }

    pub fn ppid(self, ppid: [u8; 16]) -> Self {
        self.edit(|recipe| recipe.platform.ppid = ppid)
    }

    pub fn instance(self, instance: Option<[u8; 16]>) -> Self {
        self.edit(|recipe| recipe.platform.instance = instance)
    }

    pub fn fmspc(self, fmspc: [u8; 6]) -> Self {
        self.edit(|recipe| recipe.platform.fmspc = fmspc)
    }

    /// Microcode that is one version behind: out of date.
    pub fn old_cpu_svn(self) -> Self {
        self.edit(|recipe| recipe.platform.cpu_svn[0] -= 1)
    }

    /// A machine with one package: its certificate has neither instance nor configuration.
    pub fn processor_authority(self) -> Self {
        self.edit(|recipe| {
            recipe.authority = Authority::Processor;
            recipe.platform.sgx_type = 0;
            recipe.platform.instance = None;
            recipe.platform.configuration = None;
        })
    }

    /// A quoting enclave that is behind: out of date.
    pub fn old_enclave(self) -> Self {
        self.edit(|recipe| recipe.enclave.isv_svn = 2)
    }

    pub fn debug_enclave(self) -> Self {
        self.edit(|recipe| recipe.enclave.attributes[0] |= 0x02)
    }

    pub fn other_enclave_signer(self) -> Self {
        self.edit(|recipe| recipe.enclave.mr_signer = [0x5e; 32])
    }

    // What Intel says about it.

    /// What the newest level, which the platform has, is said to be.
    pub fn tcb(self, status: &str, advisories: &[&str]) -> Self {
        self.edit(|recipe| {
            let level = &mut recipe.tcb_info.levels[0];
            level.status = status.to_owned();
            level.advisories = advisories.iter().map(|id| (*id).to_owned()).collect();
        })
    }

    /// When the newest level was published, in Unix time.
    pub fn tcb_date(self, date: u64) -> Self {
        self.edit(|recipe| recipe.tcb_info.levels[0].date = date)
    }

    /// The evaluation number of both documents.
    pub fn evaluation(self, number: u32) -> Self {
        self.edit(|recipe| {
            recipe.tcb_info.evaluation = number;
            recipe.qe_identity.evaluation = number;
        })
    }

    /// The number of both revocation lists.
    pub fn crl_number(self, number: u64) -> Self {
        self.edit(|recipe| {
            recipe.pck_crl.number = Some(number);
            recipe.root_crl.number = Some(number);
        })
    }

    pub fn revoked(self, what: Revoked) -> Self {
        self.edit(|recipe| match what {
            Revoked::Pck | Revoked::Stranger => recipe.pck_crl.revoked.push(what),
            Revoked::Authority | Revoked::TcbSigner => recipe.root_crl.revoked.push(what),
        })
    }

    pub fn revoked_pck(self) -> Self {
        self.revoked(Revoked::Pck)
    }

    /// All four documents ended a day ago.
    pub fn expired_collateral(self) -> Self {
        const ENDED: Window = Window {
            age: 31 * 86_400,
            life: 30 * 86_400,
        };
        self.collateral_window(ENDED)
    }

    /// All four documents begin in an hour.
    pub fn future_collateral(self) -> Self {
        const LATER: Window = Window {
            age: -3_600,
            life: 30 * 86_400,
        };
        self.collateral_window(LATER)
    }

    pub fn collateral_window(self, window: Window) -> Self {
        self.edit(|recipe| {
            recipe.tcb_info.window = window;
            recipe.qe_identity.window = window;
            recipe.pck_crl.window = window;
            recipe.root_crl.window = window;
        })
    }

    /// Puts a value into the TCB info before it is signed. The pointer is RFC 6901's.
    pub fn tcb_info(self, pointer: &str, value: Value) -> Self {
        self.edit(|recipe| recipe.tcb_info.edits.push(edit(pointer, Some(value))))
    }

    pub fn without_tcb_info(self, pointer: &str) -> Self {
        self.edit(|recipe| recipe.tcb_info.edits.push(edit(pointer, None)))
    }

    /// The same of the QE identity.
    pub fn qe_identity(self, pointer: &str, value: Value) -> Self {
        self.edit(|recipe| recipe.qe_identity.edits.push(edit(pointer, Some(value))))
    }

    pub fn without_qe_identity(self, pointer: &str) -> Self {
        self.edit(|recipe| recipe.qe_identity.edits.push(edit(pointer, None)))
    }

    /// A part of a certificate left out.
    pub fn without(self, what: Omitted) -> Self {
        self.edit(|recipe| recipe.omitted.push(what))
    }

    /// A signature by somebody else.
    pub fn forged(self, what: Forged) -> Self {
        self.edit(|recipe| recipe.forged.push(what))
    }
}

fn edit(pointer: &str, value: Option<Value>) -> Edit {
    Edit {
        pointer: pointer.to_owned(),
        value,
    }
}
