//! What a guest looks like to its own CPU: the body of a quote.
//!
//! Fields, order and sizes: Intel TDX DCAP Quoting Library API (TD Quote Body Descriptor), `sgx_quote_5.h`.

use attestation::{Hex, event::EventLog};
use aws_lc_rs::digest::{SHA384, digest};

use crate::layout::Sheet;

/// `SEPT_VE_DISABLE`, and nothing else.
pub const TD_ATTRIBUTES: [u8; 8] = [0, 0, 0, 0x10, 0, 0, 0, 0];
/// What guests with AVX-512 and AMX have.
pub const XFAM: [u8; 8] = [0xe7, 0x02, 0x06, 0, 0, 0, 0, 0];

/// Bits of the TD attributes (Intel TDX Module ABI specification, table 3.23).
pub mod attribute {
    pub const DEBUG: u64 = 1;
    pub const SEPT_VE_DISABLE: u64 = 1 << 28;
    pub const MIGRATABLE: u64 = 1 << 29;
    pub const PERFMON: u64 = 1 << 63;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Td {
    /// Of the TDX module: its security version, its major version, then that of the microcode.
    pub tee_tcb_svn: [u8; 16],
    pub mr_seam: [u8; 48],
    /// Zeros: Intel's own.
    pub mr_signer_seam: [u8; 48],
    pub seam_attributes: [u8; 8],
    pub attributes: [u8; 8],
    pub xfam: [u8; 8],
    pub mr_td: [u8; 48],
    pub mr_config_id: [u8; 48],
    pub mr_owner: [u8; 48],
    pub mr_owner_config: [u8; 48],
    pub rtmr: [[u8; 48]; 4],
    /// From here on only in bodies of TDX 1.5.
    pub tee_tcb_svn2: [u8; 16],
    pub mr_service_td: [u8; 48],
    pub extended: Extended,
}

/// Only in bodies of TDX 1.5ex (`sgx_report2_body_v1_5_ex_t`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extended {
    pub vm_id: u8,
    pub td_id: [u8; 32],
    pub dev_info: [u8; 48],
    pub init_service_td_hash: [u8; 48],
    pub init_service_td_attributes: [u8; 8],
    pub init_cpu_svn: [u8; 16],
    pub init_tee_tcb_svn: [u8; 16],
    pub init_tee_fmspc: [u8; 12],
    pub cur_service_td_hash: [u8; 48],
    pub cur_service_td_attributes: [u8; 8],
}

impl Td {
    /// Measured as if this image had booted: the same name, the same measurements.
    pub fn of(image: &str) -> Self {
        let measured = |part: &str| sha384(&[b"soft-tdx image\0", image.as_bytes(), b"\0", part.as_bytes()]);
        let tee_tcb_svn = [5, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        Self {
            tee_tcb_svn,
            mr_seam: sha384(&[b"soft-tdx module"]),
            mr_signer_seam: [0; 48],
            seam_attributes: [0; 8],
            attributes: TD_ATTRIBUTES,
            xfam: XFAM,
            mr_td: measured("mrtd"),
            mr_config_id: [0; 48],
            mr_owner: [0; 48],
            mr_owner_config: [0; 48],
            rtmr: [measured("rtmr0"), measured("rtmr1"), measured("rtmr2"), [0; 48]],
            tee_tcb_svn2: tee_tcb_svn,
            mr_service_td: [0; 48],
            extended: Extended {
                vm_id: 0,
                td_id: [0x1d; 32],
                dev_info: [0; 48],
                init_service_td_hash: [0; 48],
                init_service_td_attributes: [0; 8],
                init_cpu_svn: [0; 16],
                init_tee_tcb_svn: tee_tcb_svn,
                init_tee_fmspc: [0; 12],
                cur_service_td_hash: [0; 48],
                cur_service_td_attributes: [0; 8],
            },
        }
    }

    /// Extends RTMR3 by what a guest writes there before it serves.
    pub fn record(&mut self, log: &EventLog) {
        let [.., register] = &mut self.rtmr;
        *register = log.replay(Hex(*register)).0;
    }

    /// All bits that are set in `bits` too.
    pub fn set_attributes(&mut self, bits: u64) {
        self.attributes = (u64::from_le_bytes(self.attributes) | bits).to_le_bytes();
    }

    pub fn clear_attributes(&mut self, bits: u64) {
        self.attributes = (u64::from_le_bytes(self.attributes) & !bits).to_le_bytes();
    }

    /// 584 bytes.
    pub(crate) fn put_1_0(&self, report_data: &[u8; 64], sheet: &mut Sheet) {
        sheet.put("td.tee_tcb_svn", &self.tee_tcb_svn);
        sheet.put("td.mr_seam", &self.mr_seam);
        sheet.put("td.mr_signer_seam", &self.mr_signer_seam);
        sheet.put("td.seam_attributes", &self.seam_attributes);
        sheet.put("td.attributes", &self.attributes);
        sheet.put("td.xfam", &self.xfam);
        sheet.put("td.mr_td", &self.mr_td);
        sheet.put("td.mr_config_id", &self.mr_config_id);
        sheet.put("td.mr_owner", &self.mr_owner);
        sheet.put("td.mr_owner_config", &self.mr_owner_config);
        for (name, register) in ["td.rtmr0", "td.rtmr1", "td.rtmr2", "td.rtmr3"]
            .into_iter()
            .zip(&self.rtmr)
        {
            sheet.put(name, register);
        }
        sheet.put("td.report_data", report_data);
    }

    /// The 64 bytes that TDX 1.5 adds.
    pub(crate) fn put_1_5(&self, sheet: &mut Sheet) {
        sheet.put("td.tee_tcb_svn2", &self.tee_tcb_svn2);
        sheet.put("td.mr_service_td", &self.mr_service_td);
    }
}

impl Extended {
    /// The 237 bytes that TDX 1.5ex adds.
    pub(crate) fn put(&self, sheet: &mut Sheet) {
        sheet.put("td.vm_id", &[self.vm_id]);
        sheet.put("td.td_id", &self.td_id);
        sheet.put("td.dev_info", &self.dev_info);
        sheet.put("td.init_service_td_hash", &self.init_service_td_hash);
        sheet.put("td.init_service_td_attributes", &self.init_service_td_attributes);
        sheet.put("td.init_cpu_svn", &self.init_cpu_svn);
        sheet.put("td.init_tee_tcb_svn", &self.init_tee_tcb_svn);
        sheet.put("td.init_tee_fmspc", &self.init_tee_fmspc);
        sheet.put("td.cur_service_td_hash", &self.cur_service_td_hash);
        sheet.put("td.cur_service_td_attributes", &self.cur_service_td_attributes);
    }
}

fn sha384(parts: &[&[u8]]) -> [u8; 48] {
    let mut out = [0; 48];
    out.copy_from_slice(digest(&SHA384, &parts.concat()).as_ref());
    out
}
