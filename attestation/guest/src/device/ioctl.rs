//! The two requests that the device takes, as in the kernel's `include/uapi/linux/tdx-guest.h`.
//!
//! `TDX_CMD_EXTEND_RTMR` is not in kernels from kernel.org; Intel's and some clouds' have it, numbered as here.
#![expect(unsafe_code, reason = "the standard library has no ioctl")]

use std::{fs::File, io, os::fd::AsRawFd as _};

use super::REPORT;

/// `struct tdx_report_req`: the kernel reads the first part and writes the second.
#[repr(C)]
struct ReportRequest {
    report_data: [u8; 64],
    report: [u8; REPORT],
}

/// `struct tdx_extend_rtmr_req`.
#[repr(C)]
struct ExtendRequest {
    digest: [u8; 48],
    index: u8,
}

const READ: u32 = 2;
const WRITE: u32 = 1;

/// `TDX_CMD_GET_REPORT0`, `_IOWR('T', 1, struct tdx_report_req)`.
const GET_REPORT0: u32 = request::<ReportRequest>(READ | WRITE, 1);
/// `TDX_CMD_EXTEND_RTMR`, `_IOR('T', 3, struct tdx_extend_rtmr_req)`.
const EXTEND_RTMR: u32 = request::<ExtendRequest>(READ, 3);

// What the macros of the kernel's headers come to.
const _: () = assert!(GET_REPORT0 == 0xC440_5401 && EXTEND_RTMR == 0x8031_5403);

/// `_IOC` of the kernel's `asm-generic/ioctl.h`.
const fn request<T>(direction: u32, number: u32) -> u32 {
    direction << 30 | (size_of::<T>() as u32) << 16 | (b'T' as u32) << 8 | number
}

pub(super) fn report(device: &File, report_data: &[u8; 64]) -> io::Result<Box<[u8; REPORT]>> {
    let mut request = Box::new(ReportRequest {
        report_data: *report_data,
        report: [0; REPORT],
    });
    // SAFETY: the descriptor is open for as long as `device` lives. The kernel reads and writes at most the size that
    // is coded in the request's number, which is that of `ReportRequest`; the pointer is to one, ours alone, and every
    // pattern of bytes is a valid one.
    let answer = unsafe { libc::ioctl(device.as_raw_fd(), GET_REPORT0 as libc::Ioctl, &raw mut *request) };
    succeeded(answer)?;
    Ok(Box::new(request.report))
}

pub(super) fn extend(device: &File, index: u8, digest: &[u8; 48]) -> io::Result<()> {
    let mut request = ExtendRequest { digest: *digest, index };
    // SAFETY: as above, with the size of `ExtendRequest`, of which the kernel only reads.
    let answer = unsafe { libc::ioctl(device.as_raw_fd(), EXTEND_RTMR as libc::Ioctl, &raw mut request) };
    succeeded(answer)
}

fn succeeded(answer: libc::c_int) -> io::Result<()> {
    if answer == 0 {
        return Ok(());
    }
    // The kernel's driver answers with 0 or an error; old ones of Intel gave a status of the module.
    Err(match answer {
        -1 => io::Error::last_os_error(),
        status => io::Error::other(format!("the TDX module answered {status}")),
    })
}
