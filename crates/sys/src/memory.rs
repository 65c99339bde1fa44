//! What this process has of memory and does not need.
#![expect(
    unsafe_code,
    reason = "calls of the C library and the kernel on our own pages"
)]

use std::ffi::c_void;
use std::ptr;

/// Gives memory back to the kernel: what the allocator has free, and the pages of our program file, most of which only
/// a start has use for (those that are needed again come back from the page cache by themselves). Worth it once after
/// much work, such as a start. Breakpoints of a debugger are lost by it.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointers, and glibc allows it at any time on any thread.
    unsafe {
        libc::malloc_trim(0);
    }
    // SAFETY: `unmap_program` has the type that is asked for, and keeps nothing of what it is shown.
    unsafe { libc::dl_iterate_phdr(Some(unmap_program), ptr::null_mut()) };
}

/// For the first object, which is the program itself: lets go of the pages of all segments that nobody may write to.
/// Those that were written to before they were sealed (relocations) lie in segments of the other kind.
unsafe extern "C" fn unmap_program(
    info: *mut libc::dl_phdr_info,
    _size: usize,
    _data: *mut c_void,
) -> libc::c_int {
    // SAFETY: the loader's description of the object, which is valid during this call.
    let info = unsafe { &*info };
    // SAFETY: the loader says that there are so many headers there.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    let page = 1 << 12; // where pages are larger the kernel may refuse, and nothing is lost
    for header in headers {
        if header.p_type != libc::PT_LOAD || header.p_flags & libc::PF_W != 0 {
            continue;
        }
        let start = info.dlpi_addr + header.p_vaddr;
        let end = start + header.p_memsz;
        let start = start & !(page - 1);
        let address = ptr::with_exposed_provenance_mut::<c_void>(start as usize);
        // SAFETY: a mapping of the program file that is only ever read, so its content is what the file has, whether a
        // page is there or comes back. What fails leaves all as it was.
        unsafe { libc::madvise(address, (end - start) as usize, libc::MADV_DONTNEED) };
    }
    1 // no more objects
}
