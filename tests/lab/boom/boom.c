// SPDX-License-Identifier: GPL-2.0
/*
 * Crashes the kernel it is loaded into, in the way that is written to /dev/boom.
 *
 * One function for each kind, and its name is the answer that a reader of the crash must give: boom_KIND.
 * None is inlined and none ends in a tail call; the write handler does, so that boom_KIND is called right
 * from vfs_write(). Builds on 5.10 to 7.3, on every machine of Debian.
 */
#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/irq_work.h>
#include <linux/kthread.h>
#include <linux/list.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/refcount.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/timer.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>

#define KIND(name) noinline ssize_t boom_##name(void); noinline ssize_t boom_##name(void)

/* What the write handler returns where the kernel survives: all was written. */
static size_t written;

/* A value that the compiler knows nothing of. */
#define hidden(value) ({ typeof(value) v_ = (value); OPTIMIZER_HIDE_VAR(v_); v_; })

/* An address of the kernel's half at which nothing is mapped. */
#if defined(CONFIG_X86_64)
#define UNMAPPED 0xffffe8deadbe0000UL
#elif defined(CONFIG_ARM64)
#define UNMAPPED 0xffffdeadbeef0000UL
#elif defined(CONFIG_PPC64)
#define UNMAPPED 0xc00dead000000000UL
#elif defined(CONFIG_S390)
#define UNMAPPED 0x0000deadbeef0000UL
#elif defined(CONFIG_RISCV)
#define UNMAPPED 0xffffffdeadbe0000UL
#elif defined(CONFIG_LOONGARCH)
#define UNMAPPED 0xffffdeadbe000000UL
#elif defined(CONFIG_MIPS) && defined(CONFIG_64BIT)
#define UNMAPPED 0xc00000deadbe0000UL
#else
#define UNMAPPED 0xefadbe00UL
#endif

/* An instruction that no machine has and no BUG() uses. */
#if defined(CONFIG_X86)
#define UNDEFINED "ud2"
#elif defined(CONFIG_ARM64)
#define UNDEFINED ".inst 0x00000000"
#elif defined(CONFIG_ARM)
#define UNDEFINED ".inst 0xe7f000f0"
#elif defined(CONFIG_MIPS)
#define UNDEFINED ".insn\n.word 0x00000039"
#else
#define UNDEFINED ".long 0"
#endif

static volatile unsigned int zero;
static volatile int sink;
static const int constant[64] = { 1 };

static unsigned long user_page(int protection)
{
	unsigned long page = vm_mmap(NULL, 0, PAGE_SIZE, protection, MAP_ANONYMOUS | MAP_PRIVATE, 0);

	if (!IS_ERR_VALUE(page) && clear_user((void __user *)page, PAGE_SIZE))
		return 0;
	return page;
}

/* Memory accesses */

KIND(null_read)
{
	sink = *(volatile int *)hidden(0x10UL);
	barrier();
	return written;
}

KIND(null_write)
{
	*(volatile int *)hidden(0x10UL) = 1;
	barrier();
	return written;
}

KIND(null_exec)
{
	((void (*)(void))hidden(0UL))();
	barrier();
	return written;
}

KIND(badptr)
{
	*(volatile int *)hidden(UNMAPPED) = 1;
	barrier();
	return written;
}

#ifdef CONFIG_X86_64
KIND(gpf)
{
	sink = *(volatile int *)hidden(0xdead4ead00000100UL);
	barrier();
	return written;
}
#endif

KIND(ro_write)
{
	*(volatile int *)hidden((unsigned long)&constant[8]) = 2;
	barrier();
	return written;
}

KIND(nx_exec)
{
	void (*code)(void) = kzalloc(64, GFP_KERNEL);

	hidden(code)();
	barrier();
	return written;
}

KIND(user_access)
{
	*(volatile int *)user_page(PROT_READ | PROT_WRITE) = 1;
	barrier();
	return written;
}

KIND(user_exec)
{
	((void (*)(void))user_page(PROT_READ | PROT_WRITE | PROT_EXEC))();
	barrier();
	return written;
}

KIND(vmalloc_oob)
{
	volatile char *area = vmalloc(PAGE_SIZE);

	area[hidden(2 * PAGE_SIZE)] = 1;
	barrier();
	return written;
}

/* Elsewhere than in the system call */

static void boom_irq_null(struct irq_work *work);
static noinline void boom_irq_null(struct irq_work *work)
{
	*(volatile int *)hidden(0x18UL) = 1;
	barrier();
}

static struct irq_work irq_null_work;

static ssize_t start_irq_null(void)
{
	init_irq_work(&irq_null_work, boom_irq_null);
	irq_work_queue(&irq_null_work);
	msleep(1000);
	return written;
}

static noinline void boom_softirq_null(struct timer_list *timer)
{
	*(volatile int *)hidden(0x18UL) = 1;
	barrier();
}

static struct timer_list softirq_null_timer;

static ssize_t start_softirq_null(void)
{
	timer_setup(&softirq_null_timer, boom_softirq_null, 0);
	mod_timer(&softirq_null_timer, jiffies + 1);
	msleep(1000);
	return written;
}

static noinline void boom_wq_null(struct work_struct *work)
{
	*(volatile int *)hidden(0x18UL) = 1;
	barrier();
}

static DECLARE_WORK(wq_null_work, boom_wq_null);

static ssize_t start_wq_null(void)
{
	schedule_work(&wq_null_work);
	msleep(1000);
	return written;
}

static noinline int boom_kthread(void *unused)
{
	*(volatile int *)hidden(UNMAPPED) = 1;
	barrier();
	return 0;
}

static ssize_t start_kthread(void)
{
	kthread_run(boom_kthread, NULL, "boom/kthread");
	msleep(1000);
	return written;
}

/* Traps and assertions */

KIND(bug)
{
	BUG_ON(!zero);
	barrier();
	return written;
}

KIND(ud2)
{
	asm volatile(UNDEFINED);
	barrier();
	return written;
}

#if defined(CONFIG_X86) || defined(CONFIG_ARM64)
KIND(int3)
{
#ifdef CONFIG_X86
	asm volatile("int3");
#else
	asm volatile("brk #0x42");
#endif
	barrier();
	return written;
}
#endif

#if defined(CONFIG_X86) || defined(CONFIG_S390)
KIND(divide)
{
	sink = 10 / (int)zero;
	barrier();
	return written;
}
#endif

KIND(warn)
{
	WARN_ON(!zero);
	barrier();
	return written;
}

KIND(panic)
{
	/* Behind the compiler's back, which else ends the function here and gives its frame the next one's name. */
	void (*call)(const char *, ...) = (void (*)(const char *, ...))panic;

	hidden(call)("boom: told to");
	barrier();
	return written;
}

KIND(stack_overflow)
{
	volatile char frame[512];

	frame[0] = zero;
	if (!zero) /* always */
		frame[1] = boom_stack_overflow();
	return frame[0] + frame[1];
}

KIND(stackprot)
{
	char small[16];
	volatile char *end = hidden(&small[0]);
	int i;

	for (i = 0; i < 48; i++)
		end[i] = 0x5a;
	barrier();
	return written;
}

/* Watchdogs */

KIND(softlockup)
{
	preempt_disable();
	for (;;)
		cpu_relax();
	return written;
}

static DEFINE_SPINLOCK(spin);

KIND(spin_deadlock)
{
	spin_lock(&spin);
	spin_lock(&spin);
	barrier();
	return written;
}

KIND(hardlockup)
{
	local_irq_disable();
	for (;;)
		cpu_relax();
	return written;
}

KIND(hung)
{
	set_current_state(TASK_UNINTERRUPTIBLE);
	schedule();
	barrier();
	return written;
}

static DEFINE_MUTEX(mutex);

KIND(mutex_deadlock)
{
	mutex_lock(&mutex);
	mutex_lock(&mutex);
	barrier();
	return written;
}

#ifndef CONFIG_TINY_RCU /* whose grace periods end at once */
unsigned long rcu_get_gp_seq(void); /* exported, and in no header */

/* One grace period after another, so that there is one to stall. */
static void again(struct rcu_head *waiting)
{
	call_rcu(waiting, again);
}

KIND(rcustall)
{
	static struct rcu_head waiting;

	call_rcu(&waiting, again);
	for (;;) {
		preempt_disable();
		if (rcu_get_gp_seq() & 3) /* one has begun; there is one CPU, so that it cannot end */
			break;
		preempt_enable();
		yield();
	}
	rcu_read_lock();
	for (;;)
		cpu_relax();
	return written;
}
#endif

KIND(atomic)
{
	preempt_disable();
	schedule();
	preempt_enable();
	barrier();
	return written;
}

KIND(sleep_in_atomic)
{
	preempt_disable();
	msleep(10);
	preempt_enable();
	barrier();
	return written;
}

/* What debugging and hardening find */

static LIST_HEAD(head);

KIND(list_add)
{
	static struct list_head first, second;

	list_add(&first, &head);
	first.prev = NULL;
	list_add(&second, &head);
	barrier();
	return written;
}

KIND(list_del)
{
	static struct list_head entry;

	list_add(&entry, &head);
	list_del(&entry);
	list_del(&entry);
	barrier();
	return written;
}

KIND(refcount)
{
	static refcount_t count = REFCOUNT_INIT(0);

	refcount_inc(&count);
	barrier();
	return written;
}

KIND(refcount_sat)
{
	static refcount_t count = REFCOUNT_INIT(INT_MAX);

	refcount_inc(&count);
	barrier();
	return written;
}

KIND(usercopy)
{
	char *object = kzalloc(64, GFP_KERNEL);
	unsigned long page = user_page(PROT_READ | PROT_WRITE);

	if (copy_to_user((void __user *)page, hidden(object), hidden(256UL)))
		sink = 1;
	barrier();
	return written;
}

struct fields {
	char first[8];
	char second[8];
};

KIND(fortify)
{
	struct fields *fields = kzalloc(sizeof(*fields), GFP_KERNEL);

	memcpy(fields->first, "twelve bytes", hidden(12UL));
	sink = fields->second[0];
	barrier();
	return written;
}

KIND(uaf_read)
{
	int **object = kzalloc(256, GFP_KERNEL);

	object = hidden(object);
	kfree(object);
	sink = *READ_ONCE(hidden(object)[1]);
	barrier();
	return written;
}

KIND(uaf_write)
{
	char *object = kzalloc(256, GFP_KERNEL);
	char *again = hidden(object);

	kfree(object);
	memset(hidden(again) + 32, 'A', 4);
	sink = *(char *)hidden(kzalloc(256, GFP_KERNEL));
	barrier();
	return written;
}

KIND(double_free)
{
	char *object = kzalloc(128, GFP_KERNEL);
	char *again = hidden(object);

	kfree(object);
	kfree(hidden(again));
	barrier();
	return written;
}

KIND(oob_write)
{
	volatile char *object = kzalloc(128, GFP_KERNEL); /* no smaller object is of its own size everywhere */

	hidden(object)[hidden(130UL)] = 'A';
	kfree((void *)object);
	barrier();
	return written;
}

KIND(bad_page)
{
	struct page *page = alloc_pages(GFP_KERNEL, 4); /* so many are looked at when they are given back */

	page->mapping = (void *)hidden(0x1234500UL);
	__free_pages(page, 4);
	barrier();
	return written;
}

KIND(alloc_fail)
{
	while (alloc_pages(GFP_ATOMIC, 9))
		;
	barrier();
	return written;
}

KIND(ubsan_bounds)
{
	static int table[8];

	sink = table[hidden(8U)];
	barrier();
	return written;
}

KIND(ubsan_shift)
{
	sink = 1 << hidden(40);
	barrier();
	return written;
}

static const struct {
	const char *name;
	ssize_t (*run)(void);
} kinds[] = {
	{ "null_read", boom_null_read },
	{ "null_write", boom_null_write },
	{ "null_exec", boom_null_exec },
	{ "badptr", boom_badptr },
#ifdef CONFIG_X86_64
	{ "gpf", boom_gpf },
#endif
	{ "ro_write", boom_ro_write },
	{ "nx_exec", boom_nx_exec },
	{ "user_access", boom_user_access },
	{ "user_exec", boom_user_exec },
	{ "vmalloc_oob", boom_vmalloc_oob },
	{ "irq_null", start_irq_null },
	{ "softirq_null", start_softirq_null },
	{ "wq_null", start_wq_null },
	{ "kthread", start_kthread },
	{ "bug", boom_bug },
	{ "ud2", boom_ud2 },
#if defined(CONFIG_X86) || defined(CONFIG_ARM64)
	{ "int3", boom_int3 },
#endif
#if defined(CONFIG_X86) || defined(CONFIG_S390)
	{ "divide", boom_divide },
#endif
	{ "warn", boom_warn },
	{ "panic", boom_panic },
	{ "stack_overflow", boom_stack_overflow },
	{ "stackprot", boom_stackprot },
	{ "softlockup", boom_softlockup },
	{ "spin_deadlock", boom_spin_deadlock },
	{ "hardlockup", boom_hardlockup },
	{ "hung", boom_hung },
	{ "mutex_deadlock", boom_mutex_deadlock },
#ifndef CONFIG_TINY_RCU
	{ "rcustall", boom_rcustall },
#endif
	{ "atomic", boom_atomic },
	{ "sleep_in_atomic", boom_sleep_in_atomic },
	{ "list_add", boom_list_add },
	{ "list_del", boom_list_del },
	{ "refcount", boom_refcount },
	{ "refcount_sat", boom_refcount_sat },
	{ "usercopy", boom_usercopy },
	{ "fortify", boom_fortify },
	{ "uaf_read", boom_uaf_read },
	{ "uaf_write", boom_uaf_write },
	{ "double_free", boom_double_free },
	{ "oob_write", boom_oob_write },
	{ "bad_page", boom_bad_page },
	{ "alloc_fail", boom_alloc_fail },
	{ "ubsan_bounds", boom_ubsan_bounds },
	{ "ubsan_shift", boom_ubsan_shift },
};

static char wanted[32];

static noinline int find_kind(const char __user *text, size_t size)
{
	int i;

	if (size >= sizeof(wanted) || copy_from_user(wanted, text, size))
		return -EINVAL;
	wanted[size] = '\0';
	written = size;
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (!strcmp(strim(wanted), kinds[i].name)) {
			pr_info("boom: provoking %s\n", kinds[i].name);
			return i;
		}
	}
	return -EINVAL;
}

static ssize_t boom_write(struct file *file, const char __user *text, size_t size, loff_t *offset)
{
	int i = find_kind(text, size);

	if (i < 0)
		return i;
	return kinds[i].run(); /* a tail call: no frame of its own */
}

static const struct file_operations boom_operations = {
	.owner = THIS_MODULE,
	.write = boom_write,
};

static struct miscdevice boom_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "boom",
	.fops = &boom_operations,
};

module_misc_device(boom_device);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Crashes the kernel on request");
