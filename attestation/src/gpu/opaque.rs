//! The fields that a device adds to its measurements: `u16` type, `u16` length, bytes, one after another.
//!
//! Types as in NVIDIA's attestation SDK, `gpu_opaque_data_parser.hpp` and `switch_opaque_data_parser.hpp`. They are under
//! the report's signature, so a type that we do not know is the device's own affair; the same type twice is nobody's.

use super::{GpuRefusal, Mode, bytes::Bytes};

const DRIVER: u16 = 3;
const VBIOS: u16 = 6;
const NVDEC0: u16 = 11;
const CHIP_SKU: u16 = 15;
const PROJECT: u16 = 17;
const PROJECT_SKU: u16 = 18;
const FWID: u16 = 20;
const PROTECTED_PCIE: u16 = 21;
/// Of a GPU the switches it is linked to, one for each link; of a switch its own.
const PDI: u16 = 22;
const CHIP: u16 = 35;
const FEATURE: u16 = 36;

const YES: u8 = 0xaa;
const NO: u8 = 0x55;

const MALFORMED: GpuRefusal = GpuRefusal::Malformed {
    what: "the opaque data of a report",
};

#[derive(Debug)]
pub(super) struct Opaque<'a> {
    fields: Vec<(u16, &'a [u8])>,
}

impl<'a> Opaque<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, GpuRefusal> {
        let mut bytes = Bytes::new(bytes);
        let mut fields = Vec::<(u16, &[u8])>::new();
        while !bytes.is_empty() {
            let (kind, len) = bytes.u16_le().zip(bytes.u16_le()).ok_or(MALFORMED)?;
            let value = bytes.slice(len).ok_or(MALFORMED)?;
            if fields.iter().any(|(other, _)| *other == kind) {
                return Err(MALFORMED);
            }
            fields.push((kind, value));
        }
        Ok(Self { fields })
    }

    pub(super) fn driver(&self) -> Result<String, GpuRefusal> {
        self.text(DRIVER)
    }

    /// As the tools print it, `96.00.A5.00.01`. A GPU gives a number of eight bytes, a switch gives the text.
    pub(super) fn vbios(&self) -> Result<String, GpuRefusal> {
        let field = self.required(VBIOS)?;
        let &[d, c, b, a, e, 0, 0, 0] = field else {
            return text(field).ok_or(MALFORMED);
        };
        Ok(format!("{a:02X}.{b:02X}.{c:02X}.{d:02X}.{e:02X}"))
    }

    /// By which NVIDIA names the measurements of this VBIOS.
    pub(super) fn vbios_rim(&self) -> Result<String, GpuRefusal> {
        let mut id = "NV_GPU_VBIOS".to_owned();
        for part in [PROJECT, PROJECT_SKU, CHIP_SKU] {
            id.push('_');
            id.push_str(&self.text(part)?);
        }
        id.push('_');
        id.push_str(&self.vbios()?.replace('.', ""));
        Ok(id)
    }

    /// The chip's own name for itself, in the reports of some Blackwells.
    pub(super) fn chip(&self) -> Result<Option<String>, GpuRefusal> {
        self.get(CHIP).map(|chip| text(chip).ok_or(MALFORMED)).transpose()
    }

    /// Which firmware the device says that it runs, as its certificate says too.
    pub(super) fn fwid(&self) -> Result<Option<&'a [u8; 48]>, GpuRefusal> {
        self.get(FWID)
            .map(|fwid| fwid.try_into().map_err(|_| MALFORMED))
            .transpose()
    }

    /// Whether NVDEC0 runs: its measurement means nothing while it does not.
    pub(super) fn nvdec0(&self) -> Result<bool, GpuRefusal> {
        flag(self.required(NVDEC0)?)
    }

    /// How the device is given to its guest. Reports of older drivers (570 and before among our samples) do not have the
    /// feature flag; NVIDIA's verifier then claims no mode. Here such a GPU counts as one alone, unless it says protected PCIe.
    pub(super) fn mode(&self) -> Result<Mode, GpuRefusal> {
        let ppcie = self.get(PROTECTED_PCIE).map(flag).transpose()?;
        let feature = match self.get(FEATURE) {
            Some([0, 0]) => Some(Mode::MultiPassthrough),
            Some([1, 0]) => Some(Mode::SinglePassthrough),
            Some([2, 0]) => Some(Mode::ProtectedPcie),
            Some(_) => return Err(MALFORMED),
            None => None,
        };
        match (feature, ppcie) {
            (Some(mode), Some(ppcie)) if ppcie != (mode == Mode::ProtectedPcie) => Err(MALFORMED),
            (Some(mode), _) => Ok(mode),
            (None, Some(true)) => Ok(Mode::ProtectedPcie),
            (None, _) => Ok(Mode::SinglePassthrough),
        }
    }

    /// Of a GPU, which writes them backwards: `[d8, .., 77]` is the switch `77..d8`.
    pub(super) fn switch_pdis(&self) -> Result<Vec<[u8; 8]>, GpuRefusal> {
        let (pdis, rest) = self.required(PDI)?.as_chunks();
        if !rest.is_empty() || pdis.is_empty() {
            return Err(MALFORMED);
        }
        let forwards = |pdi: &[u8; 8]| {
            let mut pdi = *pdi;
            pdi.reverse();
            pdi
        };
        Ok(pdis.iter().map(forwards).collect())
    }

    /// Of a switch.
    pub(super) fn own_pdi(&self) -> Result<[u8; 8], GpuRefusal> {
        self.required(PDI)?.try_into().map_err(|_| MALFORMED)
    }

    fn get(&self, kind: u16) -> Option<&'a [u8]> {
        self.fields
            .iter()
            .find(|(other, _)| *other == kind)
            .map(|(_, value)| *value)
    }

    fn required(&self, kind: u16) -> Result<&'a [u8], GpuRefusal> {
        self.get(kind).ok_or(MALFORMED)
    }

    fn text(&self, kind: u16) -> Result<String, GpuRefusal> {
        text(self.required(kind)?).ok_or(MALFORMED)
    }
}

/// Letters, digits, `.` and `_`, then zeros.
fn text(field: &[u8]) -> Option<String> {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    let (word, zeros) = field.split_at_checked(end)?;
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || [b'.', b'_'].contains(byte);
    if word.is_empty() || !word.iter().all(plain) || zeros.iter().any(|byte| *byte != 0) {
        return None;
    }
    String::from_utf8(word.to_vec()).ok()
}

fn flag(field: &[u8]) -> Result<bool, GpuRefusal> {
    match field {
        [YES] => Ok(true),
        [NO] => Ok(false),
        _ => Err(MALFORMED),
    }
}
