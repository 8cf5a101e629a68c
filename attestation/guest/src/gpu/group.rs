//! The end of a program together with what it started.
#![expect(unsafe_code, reason = "the standard library kills one process, not its group")]

use std::process::Child;

/// Of a child that was started as the leader of a group of its own.
pub(super) fn kill(leader: &Child) {
    let Ok(group) = libc::pid_t::try_from(leader.id()) else {
        return;
    };
    // SAFETY: it takes two numbers. The group is the child's own: its number is not given to another process before the
    // child was waited for, which happens after this, and a number above 1 is never that of every process.
    unsafe {
        libc::kill(-group, libc::SIGKILL);
    }
}
