// SPDX-License-Identifier: GPL-2.0
/*
 * Keeps accounts, and breaks in the way that is written to /sys/module/ledger/parameters/commit.
 *
 * What a reader of the dump must find is fixed here: which pointer of which structure was NULL, which object
 * of which slab cache was free, who holds which lock and who waits for it. Builds on 5.10 and later.
 */
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/rwsem.h>
#include <linux/semaphore.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

struct owner {
	unsigned long id;
	unsigned long limit;
	char name[16];
};

struct account {
	struct list_head entry;
	long balance;
	struct owner *owner;
	char memo[160];
};

static struct ledger {
	struct mutex lock;
	struct rw_semaphore index;
	struct semaphore seal;
	spinlock_t till;
	struct completion posted;
	struct list_head accounts;
} books;

static struct kmem_cache *accounts, *receipts;

static noinline struct account *account_open(long balance)
{
	struct account *account = kmem_cache_zalloc(accounts, GFP_KERNEL);

	account->balance = balance;
	list_add_tail(&account->entry, &books.accounts);
	return account;
}

static noinline unsigned long account_limit(struct account *account)
{
	return READ_ONCE(account->owner->limit); /* of a NULL owner: at 0x8 */
}

static noinline void account_close(struct account *account)
{
	list_del(&account->entry);
	kmem_cache_free(accounts, account);
}

/* The owner of the second account is NULL. */
static noinline unsigned long commit_null(void)
{
	static struct owner treasurer = { .id = 7, .limit = 100, .name = "treasurer" };
	struct account *account;
	unsigned long sum = 0;

	account_open(1)->owner = &treasurer;
	account_open(2);
	list_for_each_entry(account, &books.accounts, entry)
		sum += account_limit(account);
	return sum;
}

/* The account was closed before it is asked for its owner. */
static noinline unsigned long commit_freed(void)
{
	struct account *account = account_open(3);

	account_open(4);
	account_close(account);
	return account_limit(account);
}

/* Something wrote over the list of the account in the middle. */
static noinline unsigned long commit_list(void)
{
	struct account *account;

	account_open(5);
	account = account_open(6);
	account_open(7);
	account->entry.next = (struct list_head *)account->memo;
	account_close(account);
	return 0;
}

/* printer waits for index, which auditor holds, who waits for lock, which clerk holds, who waits for a post. */

static noinline int clerk(void *unused)
{
	mutex_lock(&books.lock);
	wait_for_completion_interruptible(&books.posted);
	mutex_unlock(&books.lock);
	return 0;
}

static noinline int auditor(void *unused)
{
	down_write(&books.index);
	mutex_lock(&books.lock);
	mutex_unlock(&books.lock);
	up_write(&books.index);
	return 0;
}

static noinline int printer(void *unused)
{
	down_read(&books.index);
	up_read(&books.index);
	return 0;
}

static noinline int sealer(void *unused)
{
	down(&books.seal); /* is never released */
	return 0;
}

static noinline unsigned long commit_hung(void)
{
	kthread_run(clerk, NULL, "clerk");
	msleep(100);
	kthread_run(auditor, NULL, "auditor");
	msleep(100);
	kthread_run(printer, NULL, "printer/1");
	kthread_run(printer, NULL, "printer/2");
	kthread_run(sealer, NULL, "sealer");
	return 0;
}

/* Each holds what the other waits for. */

static DEFINE_MUTEX(debit);
static DEFINE_MUTEX(credit);

static noinline int payer(void *unused)
{
	mutex_lock(&debit);
	msleep(200);
	mutex_lock(&credit);
	mutex_unlock(&credit);
	mutex_unlock(&debit);
	return 0;
}

static noinline int payee(void *unused)
{
	mutex_lock(&credit);
	msleep(200);
	mutex_lock(&debit);
	mutex_unlock(&debit);
	mutex_unlock(&credit);
	return 0;
}

static noinline unsigned long commit_deadlock(void)
{
	kthread_run(payer, NULL, "payer");
	kthread_run(payee, NULL, "payee");
	return 0;
}

/* One CPU counts for ever with the till locked, the other waits for it. */

static noinline int counter(void *unused)
{
	spin_lock(&books.till);
	for (;;)
		cpu_relax();
	return 0;
}

static noinline int cashier(void *unused)
{
	spin_lock(&books.till);
	spin_unlock(&books.till);
	return 0;
}

static noinline unsigned long commit_spin(void)
{
	struct task_struct *task = kthread_create(counter, NULL, "counter");

	kthread_bind(task, 1);
	wake_up_process(task);
	msleep(200);
	task = kthread_create(cashier, NULL, "cashier");
	kthread_bind(task, 0);
	wake_up_process(task);
	return 0;
}

/* Receipts, which nobody can reclaim, fill the memory. */
static noinline unsigned long commit_oom(void)
{
	while (kmem_cache_alloc(receipts, GFP_KERNEL))
		;
	return 0;
}

/* Each branch is audited by the branches below it, until the stack is full. */

static noinline long audit_branch(long depth);

static noinline long audit_books(long depth)
{
	char page[64];

	memset(page, depth, sizeof(page));
	OPTIMIZER_HIDE_VAR(depth);
	return audit_branch(depth + 1) + page[depth & 63];
}

static noinline long audit_branch(long depth)
{
	return audit_books(depth + 1) + depth;
}

static noinline unsigned long commit_deep(void)
{
	return audit_branch(0);
}

/* The stack pointer is lost, so that not even the fault of it can be handled. */
static noinline unsigned long commit_lost(void)
{
	asm volatile("mov %0, %%rsp\n\tpush %%rax" : : "r" (0xdead000UL) : "memory");
	return 0;
}

static const struct {
	const char *name;
	unsigned long (*run)(void);
} kinds[] = {
	{ "null", commit_null },
	{ "freed", commit_freed },
	{ "list", commit_list },
	{ "hung", commit_hung },
	{ "deadlock", commit_deadlock },
	{ "spin", commit_spin },
	{ "oom", commit_oom },
	{ "deep", commit_deep },
	{ "lost", commit_lost },
};

static int commit_set(const char *value, const struct kernel_param *parameter)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (sysfs_streq(value, kinds[i].name)) {
			pr_info("ledger: commit %s\n", kinds[i].name);
			return kinds[i].run() ? 0 : 0;
		}
	}
	return -EINVAL;
}

static const struct kernel_param_ops commit_operations = { .set = commit_set };
module_param_cb(commit, &commit_operations, NULL, 0200);

static int __init ledger_init(void)
{
	mutex_init(&books.lock);
	init_rwsem(&books.index);
	sema_init(&books.seal, 0);
	spin_lock_init(&books.till);
	init_completion(&books.posted);
	INIT_LIST_HEAD(&books.accounts);
	accounts = kmem_cache_create("ledger_account", sizeof(struct account), 0,
				     SLAB_POISON | SLAB_STORE_USER, NULL);
	receipts = kmem_cache_create("ledger_receipt", 512, 0, SLAB_POISON, NULL);
	return accounts && receipts ? 0 : -ENOMEM;
}

module_init(ledger_init);
MODULE_LICENSE("GPL");
MODULE_VERSION("1.2");
MODULE_DESCRIPTION("Keeps accounts until it is told to break");
