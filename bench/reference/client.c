/*
 * The reference client: what loadgen's speed is compared with.
 *
 * One thread, one epoll, no library: opens N connections to one target, as fast as it can or each when it
 * is due, bound to its source address first, holds them all (watched, so that a lost one is counted),
 * closes them.
 * Deliberately the best that is reasonable here, not a strawman: no call per connection that the job
 * does not need, no getsockopt(SO_ERROR) on success, no copy, no log line.
 *
 *     client --target 127.0.0.1:9000 --sources 127.0.1.1,127.0.1.2 --connections 18000
 *            --strategy kernel|late|late-range|explicit --ports 1024-33279
 *            [--rate R] [--window 256] [--hold-ms M] [--close fin|rst] [--churn] [--start-at NS]
 *            [--give-up-ms 60000]
 *
 * --ports       this process's slice of source ports: the range of late-range, the ring of explicit
 * --rate        attempts due per second (open loop): number n = 1, 2, ... at n / R after the start, never
 *               sooner; without it as fast as possible (closed loop)
 * --window      attempts that may be unanswered at once
 * --hold-ms     how long to hold; without it, until standard input is closed
 * --start-at    CLOCK_MONOTONIC in ns, so that several clients start together; without it, at once
 * --give-up-ms  after so long the ramp ends and what is not established has failed
 * --churn       close each connection as soon as it is established instead of holding it
 *
 * Standard output, two lines of JSON. After the ramp: established, failed, first_ns (first attempt) and
 * last_ns (last established) on CLOCK_MONOTONIC, ramp_ns between the two, tenths_ns (how long each tenth
 * of the established took), connect_p50_ns and connect_p99_ns (connect() called to known established),
 * with --rate also lateness_p50_ns and lateness_p99_ns (due to connect() called, of the established),
 * cpu_ns (user and system, of the ramp), first_error. In an open loop first_ns is the start of the
 * schedule. After closing: lost (closed by the other side while held), close_ns.
 *
 * Exit code: 0, whatever failed to connect; 2 for bad usage; 1 when the program itself cannot go on.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24 /* Linux 4.2 */
#endif
#ifndef IP_LOCAL_PORT_RANGE
#define IP_LOCAL_PORT_RANGE 51 /* Linux 6.3 */
#endif

enum { SOURCES_MAX = 4096, EVENTS_MAX = 512, BIND_TRIES = 10, CONNECTIONS_MAX = 10000000 };
enum strategy { KERNEL, LATE, LATE_RANGE, EXPLICIT };
static const char *const strategy_names[] = {"kernel", "late", "late-range", "explicit"};

#define FOREVER UINT64_MAX
#define STDIN_TAG UINT32_MAX /* epoll tag of standard input; all other tags are attempt numbers */

struct attempt {
    uint64_t started_ns; /* just before connect() */
    int fd;              /* -1: not started, failed, lost or closed */
    bool unanswered;
};

static struct {
    struct sockaddr_in target, sources[SOURCES_MAX];
    uint32_t source_count, connections, rate, window; /* rate 0: closed loop */
    enum strategy strategy;
    uint16_t port_low, port_high;
    int64_t hold_ms; /* -1: until standard input is closed */
    uint64_t start_at_ns, give_up_ns;
    bool reset, churn;
} cfg = {.window = 256, .port_low = 1024, .port_high = 65535, .hold_ms = -1, .reset = true,
         .give_up_ns = 60000 * UINT64_C(1000000)};

static struct attempt *attempts;
static uint64_t *established_ns; /* in the order in which they were established, so ascending */
static uint64_t *connect_ns, *lateness_ns; /* in the same order; lateness only in an open loop */
static uint16_t next_port[SOURCES_MAX]; /* explicit only: the port to try next, per source */
static uint64_t first_ns;               /* when the ramp began */
static uint32_t prepared, started, established, failed, unanswered, lost;
static const char *failed_call = NULL; /* the first failure, for the report */
static int failed_errno, epoll_fd;

static uint64_t now_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void die(const char *what)
{
    fprintf(stderr, "client: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void usage(const char *what)
{
    fprintf(stderr, "client: bad or missing %s; the usage is at the top of client.c\n", what);
    exit(2);
}

static void close_one(struct attempt *a)
{
    /* Set only now: on an open socket SO_LINGER would be a call more in the ramp, which is what is timed. */
    static const struct linger reset = {.l_onoff = 1, .l_linger = 0};
    if (cfg.reset)
        setsockopt(a->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(a->fd);
    a->fd = -1;
}

static void fail(struct attempt *a, const char *call)
{
    if (!failed_call) {
        failed_call = call;
        failed_errno = errno;
    }
    failed++;
    if (a->fd >= 0)
        close(a->fd);
    a->fd = -1;
}

static void watch(uint32_t number, int op, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.u32 = number};
    if (epoll_ctl(epoll_fd, op, attempts[number].fd, &event) < 0)
        die("epoll_ctl");
}

/* When an attempt is due; in a closed loop all are at once. */
static uint64_t due_ns(uint32_t number)
{
    return cfg.rate ? first_ns + (number + UINT64_C(1)) * 1000000000 / cfg.rate : 0;
}

static void succeed(uint32_t number, int op)
{
    uint64_t now = now_ns(CLOCK_MONOTONIC);
    connect_ns[established] = now - attempts[number].started_ns;
    if (cfg.rate)
        lateness_ns[established] = attempts[number].started_ns - due_ns(number);
    established_ns[established++] = now;
    if (cfg.churn)
        close_one(&attempts[number]);
    else
        watch(number, op, EPOLLIN | EPOLLRDHUP);
}

/* Give the socket its source; false with errno set, and *call the call that failed. */
static bool choose_source(int fd, uint32_t source, const char **call)
{
    static const int on = 1;
    struct sockaddr_in address = cfg.sources[source];

    if (cfg.strategy == KERNEL) /* connect() chooses the address too: always the same one for one target */
        return true;
    *call = "setsockopt";
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0)
        return false;
    if (cfg.strategy == EXPLICIT) {
        /* SO_REUSEPORT besides SO_REUSEADDR keeps bind() O(1) however many sockets share the port. */
        if (setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) < 0)
            return false;
        *call = "bind";
        for (int tries = 0; tries < BIND_TRIES; tries++) {
            uint16_t port = next_port[source];
            next_port[source] = port == cfg.port_high ? cfg.port_low : (uint16_t)(port + 1);
            address.sin_port = htons(port);
            if (bind(fd, (struct sockaddr *)&address, sizeof address) == 0)
                return true;
            if (errno != EADDRINUSE)
                return false;
        }
        return false;
    }
    if (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on) < 0)
        return false;
    if (cfg.strategy == LATE_RANGE) {
        uint32_t range = (uint32_t)cfg.port_high << 16 | cfg.port_low;
        if (setsockopt(fd, IPPROTO_IP, IP_LOCAL_PORT_RANGE, &range, sizeof range) < 0)
            return false;
    }
    *call = "bind";
    return bind(fd, (struct sockaddr *)&address, sizeof address) == 0;
}

/* All of an attempt but connect(). */
static void prepare_one(void)
{
    uint32_t number = prepared++;
    struct attempt *a = &attempts[number];
    const char *call = "socket";

    a->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (a->fd < 0 || !choose_source(a->fd, number % cfg.source_count, &call))
        fail(a, call);
}

static void start_one(void)
{
    if (prepared == started)
        prepare_one();
    uint32_t number = started++;
    struct attempt *a = &attempts[number];
    if (a->fd < 0)
        return;
    a->started_ns = now_ns(CLOCK_MONOTONIC);
    int r = connect(a->fd, (struct sockaddr *)&cfg.target, sizeof cfg.target);
    /* On loopback the handshake is over by now. Asking once more costs less than registering for EPOLLOUT,
       waiting, asking for SO_ERROR and registering again. */
    if (r < 0 && errno == EINPROGRESS)
        r = connect(a->fd, (struct sockaddr *)&cfg.target, sizeof cfg.target);
    if (r == 0) {
        succeed(number, EPOLL_CTL_ADD);
    } else if (errno == EALREADY) {
        a->unanswered = true;
        unanswered++;
        watch(number, EPOLL_CTL_ADD, EPOLLOUT);
    } else {
        fail(a, "connect");
    }
}

/* An unanswered attempt was answered: connect() says how, and clears the socket's error. */
static void finish_one(uint32_t number)
{
    struct attempt *a = &attempts[number];
    if (connect(a->fd, (struct sockaddr *)&cfg.target, sizeof cfg.target) == 0 || errno == EISCONN) {
        a->unanswered = false;
        unanswered--;
        succeed(number, EPOLL_CTL_MOD);
    } else if (errno != EALREADY) {
        a->unanswered = false;
        unanswered--;
        fail(a, "connect");
    }
}

/* Something happened on a connection that is held: data is thrown away, an end is a loss. */
static void held_event(struct attempt *a)
{
    char buffer[4096];
    ssize_t got = recv(a->fd, buffer, sizeof buffer, 0);
    if (got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR)))
        return;
    lost++;
    close_one(a);
}

/* One round of events, waited for until an instant (0: not at all, FOREVER: without end); false when
   standard input was closed. */
static bool serve(uint64_t until_ns)
{
    struct epoll_event events[EVENTS_MAX];
    bool go_on = true;
    uint64_t now = until_ns ? now_ns(CLOCK_MONOTONIC) : 0, rest = until_ns > now ? until_ns - now : 0;
    struct timespec wait = {.tv_sec = (time_t)(rest / 1000000000), .tv_nsec = (long)(rest % 1000000000)};
    int n = epoll_pwait2(epoll_fd, events, EVENTS_MAX, until_ns == FOREVER ? NULL : &wait, NULL);
    if (n < 0 && errno != EINTR)
        die("epoll_pwait2");
    for (int i = 0; i < n; i++) {
        uint32_t number = events[i].data.u32;
        char byte;
        if (number == STDIN_TAG)
            go_on = read(STDIN_FILENO, &byte, 1) > 0;
        else if (attempts[number].unanswered)
            finish_one(number);
        else if (attempts[number].fd >= 0)
            held_event(&attempts[number]);
    }
    return go_on;
}

static void ramp(void)
{
    uint64_t now = first_ns;
    while (established + failed < cfg.connections && now <= first_ns + cfg.give_up_ns) {
        uint32_t batch = 0;
        while (started < cfg.connections && due_ns(started) <= now && unanswered < cfg.window && batch++ < cfg.window)
            start_one();
        /* While there is room for more, look until the next is due, which in a closed loop it is; else
           until an answer comes. */
        bool room = started < cfg.connections && unanswered < cfg.window;
        if (room && cfg.rate && prepared == started)
            prepare_one();
        serve(room ? due_ns(started) : unanswered ? now + 100000000 : 0);
        now = now_ns(CLOCK_MONOTONIC);
    }
    errno = ETIMEDOUT;
    for (uint32_t i = 0; i < started; i++)
        if (attempts[i].unanswered) {
            attempts[i].unanswered = false;
            unanswered--;
            fail(&attempts[i], "connect");
        }
    if (established + failed < cfg.connections) { /* there was no time to start the others */
        if (!failed_call)
            failed_call = "start", failed_errno = ETIMEDOUT;
        failed = cfg.connections - established;
    }
}

static void hold(void)
{
    if (cfg.hold_ms >= 0) {
        uint64_t until = now_ns(CLOCK_MONOTONIC) + (uint64_t)cfg.hold_ms * 1000000;
        while (now_ns(CLOCK_MONOTONIC) < until)
            serve(until);
        return;
    }
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = STDIN_TAG};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, STDIN_FILENO, &event) < 0)
        return; /* a file or /dev/null: at its end already */
    while (serve(FOREVER))
        ;
}

static int ascending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* The percentile of all established, by nearest rank; 0 of none. The values are sorted already. */
static uint64_t percentile(const uint64_t *sorted, uint64_t percent)
{
    return established ? sorted[(established * percent + 99) / 100 - 1] : 0;
}

static void report(uint64_t cpu_ns)
{
    uint64_t last_ns = established ? established_ns[established - 1] : first_ns, previous = first_ns;
    qsort(connect_ns, established, sizeof *connect_ns, ascending);
    printf("{\"established\":%" PRIu32 ",\"failed\":%" PRIu32 ",\"ramp_ns\":%" PRIu64 ",\"first_ns\":%" PRIu64
           ",\"last_ns\":%" PRIu64 ",\"connect_p50_ns\":%" PRIu64 ",\"connect_p99_ns\":%" PRIu64
           ",\"cpu_ns\":%" PRIu64,
           established, failed, last_ns - first_ns, first_ns, last_ns,
           percentile(connect_ns, 50), percentile(connect_ns, 99), cpu_ns);
    if (cfg.rate) {
        qsort(lateness_ns, established, sizeof *lateness_ns, ascending);
        printf(",\"lateness_p50_ns\":%" PRIu64 ",\"lateness_p99_ns\":%" PRIu64,
               percentile(lateness_ns, 50), percentile(lateness_ns, 99));
    }
    printf(",\"tenths_ns\":[");
    for (uint64_t k = 1; k <= 10; k++) {
        uint64_t count = established * k / 10, end = count ? established_ns[count - 1] : first_ns;
        printf("%s%" PRIu64, k == 1 ? "" : ",", end - previous);
        previous = end;
    }
    printf("],\"first_error\":");
    if (failed_call)
        printf("\"%s: %s\"}\n", failed_call, strerror(failed_errno));
    else
        printf("null}\n");
    fflush(stdout);
}

static uint64_t number(const char *text, uint64_t max, const char *what)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno || end == text || *end || *text == '-' || value > max)
        usage(what);
    return value;
}

static void parse_address(const char *text, struct sockaddr_in *address, const char *what)
{
    address->sin_family = AF_INET;
    if (inet_pton(AF_INET, text, &address->sin_addr) != 1)
        usage(what);
}

static void parse(int argc, char **argv)
{
    static const struct option options[] = {
        {"target", required_argument, NULL, 't'},      {"sources", required_argument, NULL, 's'},
        {"connections", required_argument, NULL, 'n'}, {"strategy", required_argument, NULL, 'y'},
        {"ports", required_argument, NULL, 'p'},       {"window", required_argument, NULL, 'w'},
        {"hold-ms", required_argument, NULL, 'h'},     {"close", required_argument, NULL, 'c'},
        {"start-at", required_argument, NULL, 'a'},    {"give-up-ms", required_argument, NULL, 'g'},
        {"rate", required_argument, NULL, 'r'},        {"churn", no_argument, NULL, 'C'},
        {NULL, 0, NULL, 0}};
    bool strategy_known = false;
    char *colon, *dash, *rest = NULL;

    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 't':
            if (!(colon = strchr(optarg, ':')))
                usage("--target");
            *colon = '\0';
            parse_address(optarg, &cfg.target, "--target");
            cfg.target.sin_port = htons((uint16_t)number(colon + 1, 65535, "--target"));
            break;
        case 's':
            for (char *one = strtok_r(optarg, ",", &rest); one; one = strtok_r(NULL, ",", &rest)) {
                if (cfg.source_count == SOURCES_MAX)
                    usage("--sources");
                parse_address(one, &cfg.sources[cfg.source_count++], "--sources");
            }
            break;
        case 'y':
            for (int i = KERNEL; i <= EXPLICIT; i++)
                if (!strcmp(optarg, strategy_names[i])) {
                    cfg.strategy = (enum strategy)i;
                    strategy_known = true;
                }
            break;
        case 'p':
            if (!(dash = strchr(optarg, '-')))
                usage("--ports");
            *dash = '\0';
            cfg.port_low = (uint16_t)number(optarg, 65535, "--ports");
            cfg.port_high = (uint16_t)number(dash + 1, 65535, "--ports");
            break;
        case 'c':
            cfg.reset = !strcmp(optarg, "rst");
            if (!cfg.reset && strcmp(optarg, "fin"))
                usage("--close");
            break;
        case 'n': cfg.connections = (uint32_t)number(optarg, CONNECTIONS_MAX, "--connections"); break;
        case 'r':
            if (!(cfg.rate = (uint32_t)number(optarg, CONNECTIONS_MAX, "--rate")))
                usage("--rate");
            break;
        case 'w': cfg.window = (uint32_t)number(optarg, CONNECTIONS_MAX, "--window"); break;
        case 'h': cfg.hold_ms = (int64_t)number(optarg, 86400000, "--hold-ms"); break;
        case 'a': cfg.start_at_ns = number(optarg, INT64_MAX, "--start-at"); break;
        case 'g': cfg.give_up_ns = number(optarg, 86400000, "--give-up-ms") * 1000000; break;
        case 'C': cfg.churn = true; break;
        default: usage("option");
        }
    }
    if (!cfg.target.sin_port) usage("--target");
    if (!cfg.source_count) usage("--sources");
    if (!cfg.connections) usage("--connections");
    if (!cfg.window) usage("--window");
    if (!strategy_known) usage("--strategy");
    if (!cfg.port_low || cfg.port_low > cfg.port_high) usage("--ports");
}

int main(int argc, char **argv)
{
    parse(argc, argv);

    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &files) < 0)
        die("setrlimit");

    attempts = calloc(cfg.connections, sizeof *attempts);
    established_ns = calloc(cfg.connections, sizeof *established_ns);
    connect_ns = calloc(cfg.connections, sizeof *connect_ns);
    lateness_ns = calloc(cfg.connections, sizeof *lateness_ns);
    if (!attempts || !established_ns || !connect_ns || !lateness_ns)
        die("memory");
    /* Written, not only promised: no page fault of ours inside the ramp. */
    for (uint32_t i = 0; i < cfg.connections; i++) {
        attempts[i].fd = -1;
        established_ns[i] = connect_ns[i] = lateness_ns[i] = 1;
    }
    for (uint32_t i = 0; i < cfg.source_count; i++)
        next_port[i] = cfg.port_low;
    if ((epoll_fd = epoll_create1(EPOLL_CLOEXEC)) < 0)
        die("epoll_create1");

    /* A wait ends when it should, not up to 50 us later (prctl(2)); a timerfd as loadgen's has no slack. */
    if (prctl(PR_SET_TIMERSLACK, 1) < 0)
        die("prctl");
    if (cfg.start_at_ns) {
        struct timespec at = {.tv_sec = (time_t)(cfg.start_at_ns / 1000000000),
                              .tv_nsec = (long)(cfg.start_at_ns % 1000000000)};
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
            ;
    }
    uint64_t cpu_ns = now_ns(CLOCK_PROCESS_CPUTIME_ID);
    first_ns = now_ns(CLOCK_MONOTONIC);
    ramp();
    report(now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu_ns);

    if (!cfg.churn)
        hold();
    uint64_t closing_ns = now_ns(CLOCK_MONOTONIC);
    for (uint32_t i = 0; i < cfg.connections; i++)
        if (attempts[i].fd >= 0)
            close_one(&attempts[i]);
    printf("{\"lost\":%" PRIu32 ",\"close_ns\":%" PRIu64 "}\n", lost, now_ns(CLOCK_MONOTONIC) - closing_ns);
    free(attempts);
    free(established_ns);
    free(connect_ns);
    free(lateness_ns);
    return 0;
}
