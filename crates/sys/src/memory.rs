//! What this process has of memory and does not need.
#![expect(unsafe_code, reason = "one call of the C library's allocator")]

/// Gives free memory of the allocator back to the kernel; worth it once after much work, such as a start.
/// Where the allocator is not glibc's, nothing happens.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointers, and glibc allows it at any time on any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}
