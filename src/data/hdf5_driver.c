/* The driver that reads HDF5 files: plain files, whole reads within the file alone.
 *
 * It exists for what it leaves out. HDF5's own driver asks for a cache of small
 * reads (H5FD_FEAT_ACCUMULATE_METADATA), which up to 1.10 at least follows an
 * undefined address in a damaged file through a null pointer; and it locks
 * files, which some file systems cannot.
 */
#include "data/hdf5_driver.h"
#include "core/base.h"
#include "data/hdf5_library.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#if H5_VERSION_GE(1, 13, 0)
#include <H5FDdevelop.h>
#endif

typedef struct plain_file {
	H5FD_t base; /* HDF5's own; first */
	int fd;
	haddr_t eoa, eof;
	dev_t device;
	ino_t inode;
} plain_file;

enum { DRIVER_VALUE = 600 }; /* from 512 on for those who have not registered one */

static H5FD_t *plain_open(const char *name, unsigned flags, hid_t access, haddr_t most)
{
	(void)access;
	(void)most;
	struct stat info;
	if (flags & (H5F_ACC_RDWR | H5F_ACC_CREAT | H5F_ACC_TRUNC))
		return NULL;
	/* Not waiting for a pipe's other end. */
	int fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &info) != 0) {
		otp_hdf5_note_failed(errno);
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	if (!S_ISREG(info.st_mode)) {
		close(fd);
		return NULL;
	}
	plain_file *f = otp_calloc(1, sizeof *f);
	f->fd = fd;
	f->eof = (haddr_t)info.st_size;
	f->device = info.st_dev;
	f->inode = info.st_ino;
	return &f->base;
}

static herr_t plain_close(H5FD_t *file)
{
	plain_file *f = (plain_file *)file;
	int failed = close(f->fd);
	otp_free(f);
	return failed;
}

static int plain_compare(const H5FD_t *one, const H5FD_t *other)
{
	const plain_file *a = (const plain_file *)one, *b = (const plain_file *)other;
	if (a->device != b->device)
		return a->device < b->device ? -1 : 1;
	return (a->inode > b->inode) - (a->inode < b->inode);
}

static herr_t plain_query(const H5FD_t *file, unsigned long *flags)
{
	(void)file;
	*flags = H5FD_FEAT_DATA_SIEVE | H5FD_FEAT_DEFAULT_VFD_COMPATIBLE;
	return 0;
}

static haddr_t plain_get_eoa(const H5FD_t *file, H5FD_mem_t type)
{
	(void)type;
	return ((const plain_file *)file)->eoa;
}

static herr_t plain_set_eoa(H5FD_t *file, H5FD_mem_t type, haddr_t address)
{
	(void)type;
	((plain_file *)file)->eoa = address;
	return 0;
}

static haddr_t plain_get_eof(const H5FD_t *file, H5FD_mem_t type)
{
	(void)type;
	return ((const plain_file *)file)->eof;
}

static herr_t plain_read(H5FD_t *file, H5FD_mem_t type, hid_t transfer, haddr_t address, size_t bytes,
			 void *out)
{
	(void)type;
	(void)transfer;
	const plain_file *f = (const plain_file *)file;
	char *to = out;
	if (address > f->eof || bytes > f->eof - address)
		return -1;
	while (bytes > 0) {
		ssize_t got = pread(f->fd, to, bytes < 1 << 30 ? bytes : 1 << 30, (off_t)address);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			otp_hdf5_note_failed(errno);
		if (got <= 0)
			return -1;
		to += got;
		address += (haddr_t)got;
		bytes -= (size_t)got;
	}
	return 0;
}

/* HDF5 asks for one; never called, files are opened for reading. */
static herr_t plain_write(H5FD_t *file, H5FD_mem_t type, hid_t transfer, haddr_t address, size_t bytes,
			  const void *data)
{
	(void)file, (void)type, (void)transfer, (void)address, (void)bytes, (void)data;
	return -1;
}

static const H5FD_class_t plain_driver = {
#if H5_VERSION_GE(1, 13, 0)
    .version = H5FD_CLASS_VERSION,
    .value = DRIVER_VALUE,
#endif
    .name = "otplan",
    .maxaddr = INT64_MAX,
    .fc_degree = H5F_CLOSE_WEAK,
    .open = plain_open,
    .close = plain_close,
    .cmp = plain_compare,
    .query = plain_query,
    .get_eoa = plain_get_eoa,
    .set_eoa = plain_set_eoa,
    .get_eof = plain_get_eof,
    .read = plain_read,
    .write = plain_write,
    .fl_map = H5FD_FLMAP_DICHOTOMY,
};

/* Never let go: where a file's is the last reference, closing it makes HDF5 (1.10 at least) free the class
 * and then call through it. Another user of HDF5 in this process may have closed the library, with all that
 * is registered. */
hid_t otp_hdf5_driver(void)
{
	static hid_t driver = -1;
	if (driver < 0 || H5Iget_type(driver) != H5I_VFL)
		driver = H5FDregister(&plain_driver);
	return driver;
}
