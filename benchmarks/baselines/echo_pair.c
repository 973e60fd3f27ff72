/*
 * echo_pair: an echo server and a closed-loop swarm of clients, in plain C on one epoll loop in one thread.
 *
 *     echo_pair tcp|udp CONNECTIONS BYTES SECONDS             both ends in this process
 *     echo_pair server tcp|udp SECONDS                        the server alone; prints {"port": N}, then serves
 *     echo_pair swarm PORT tcp|udp CONNECTIONS BYTES SECONDS  the clients alone
 *
 * The limit that an echo in Python is measured against: level-triggered epoll, TCP_NODELAY, partial reads and
 * writes, 127.0.0.1 only, and no clock in the loop (a timerfd ends it). One round trip: a client sends BYTES and
 * waits until BYTES have come back. Connecting is not timed.
 *
 * After SECONDS no client starts again, and the answers under way get one more second. A client still waiting
 * then lost a datagram and stood idle for an unknown part of the run, whose figure would mean nothing: it fails.
 * Exit codes: 0 fine, 1 the run failed, 2 usage.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum {
    CHUNK_BYTES = 64 * 1024,             /* most that one read takes, and that one server connection can owe */
    LARGEST_DATAGRAM_BYTES = 65507,      /* 65535 less the IP and UDP headers */
    UDP_BUFFER_BYTES = 4 * 1024 * 1024,  /* asked for; the kernel grants at most net.core.rmem_max */
    DATAGRAMS_PER_WAKE_UP = 64,
    EVENTS_PER_TURN = 256,
    DRAIN_S = 1,
    SPARE_S = 30,                        /* for connecting; past it a signal ends the process */
};

enum kind { TIMER, LISTENER, SERVER_CONNECTION, SERVER_DATAGRAMS, CLIENT };

struct endpoint {
    enum kind kind;
    int fd;
    uint32_t watched;     /* the events that epoll was told */
    size_t unsent;        /* bytes that the kernel has not taken yet */
    size_t awaited;       /* client: bytes of the answer still to come */
    unsigned char *owed;  /* server connection: its unsent bytes */
};

static bool udp;
static size_t message_bytes;
static unsigned char *message;
static unsigned char chunk[CHUNK_BYTES];

static int loop_fd;
static struct endpoint timer = {.kind = TIMER};
static struct sockaddr_in server_address = {.sin_family = AF_INET};
static struct endpoint *clients;
static size_t client_count, clients_waiting;
static unsigned long long round_trips;
static bool counting;

static int checked(int result, const char *what)
{
    if (result < 0)
        err(1, "%s", what);
    return result;
}

static void *zeroed(size_t count, size_t size)
{
    void *memory = calloc(count, size);
    if (!memory)
        err(1, "calloc");
    return memory;
}

static bool try_again(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void arm_timer(double seconds)
{
    struct itimerspec due = {.it_value.tv_sec = (time_t)seconds};
    due.it_value.tv_nsec = (long)((seconds - (double)due.it_value.tv_sec) * 1e9);
    checked(timerfd_settime(timer.fd, 0, &due, NULL), "timerfd_settime");
}

static int open_socket(int flags)
{
    return checked(socket(AF_INET, (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC | flags, 0), "socket");
}

static void set_option(int fd, int level, int name, int value)
{
    checked(setsockopt(fd, level, name, &value, sizeof value), "setsockopt");
}

static void watch(struct endpoint *e, uint32_t events)
{
    struct epoll_event interest = {.events = events, .data.ptr = e};
    if (e->watched != events)
        checked(epoll_ctl(loop_fd, e->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, e->fd, &interest), "epoll_ctl");
    e->watched = events;
}

static void accept_all(struct endpoint *listener)
{
    int fd;
    while ((fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct endpoint *connection = zeroed(1, sizeof *connection);
        connection->kind = SERVER_CONNECTION;
        connection->fd = fd;
        set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
        watch(connection, EPOLLIN);
    }
    if (!try_again() && errno != ECONNABORTED)
        err(1, "accept");
}

/* What the kernel does not take is owed; a connection is not read again until its debt is paid. */
static void echo_stream(struct endpoint *connection)
{
    bool owing = connection->unsent > 0;
    const unsigned char *bytes = owing ? connection->owed : chunk;
    ssize_t count = owing ? (ssize_t)connection->unsent : recv(connection->fd, chunk, sizeof chunk, 0);
    if (count < 0 && try_again())
        return;
    ssize_t sent = count > 0 ? send(connection->fd, bytes, (size_t)count, MSG_NOSIGNAL) : -1;
    if (count <= 0 || (sent < 0 && !try_again())) { /* end of stream, or reset */
        close(connection->fd);                      /* epoll forgets it, too */
        free(connection->owed);
        free(connection);
        return;
    }
    sent = sent < 0 ? 0 : sent;
    connection->unsent = (size_t)(count - sent);
    if (connection->unsent > 0) {
        if (!connection->owed)
            connection->owed = zeroed(1, CHUNK_BYTES);
        memmove(connection->owed, bytes + sent, connection->unsent);
    }
    watch(connection, connection->unsent > 0 ? EPOLLOUT : EPOLLIN);
}

static void echo_datagrams(struct endpoint *server)
{
    for (int i = 0; i < DATAGRAMS_PER_WAKE_UP; i++) {
        struct sockaddr_in from;
        socklen_t from_size = sizeof from;
        ssize_t got = recvfrom(server->fd, chunk, sizeof chunk, 0, (struct sockaddr *)&from, &from_size);
        if (got < 0 && try_again())
            return;
        checked((int)got, "recvfrom");
        /* An answer that the kernel refuses is a lost datagram; the client that misses it makes the run fail. */
        if (sendto(server->fd, chunk, (size_t)got, 0, (struct sockaddr *)&from, from_size) < 0 && !try_again())
            err(1, "sendto");
    }
}

static void start_server(struct endpoint *server)
{
    socklen_t size = sizeof server_address;
    server->kind = udp ? SERVER_DATAGRAMS : LISTENER;
    server->fd = open_socket(SOCK_NONBLOCK);
    checked(bind(server->fd, (struct sockaddr *)&server_address, size), "bind");
    if (udp)
        set_option(server->fd, SOL_SOCKET, SO_RCVBUF, UDP_BUFFER_BYTES);
    else
        checked(listen(server->fd, SOMAXCONN), "listen");
    checked(getsockname(server->fd, (struct sockaddr *)&server_address, &size), "getsockname");
    watch(server, EPOLLIN);
}

static void send_rest(struct endpoint *client)
{
    ssize_t sent = send(client->fd, message + (message_bytes - client->unsent), client->unsent, MSG_NOSIGNAL);
    if (sent < 0 && !try_again())
        err(1, "client send");
    if (sent > 0)
        client->unsent -= (size_t)sent;
    watch(client, client->unsent > 0 ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void start_round_trip(struct endpoint *client)
{
    client->unsent = client->awaited = message_bytes;
    send_rest(client);
}

static void read_answer(struct endpoint *client)
{
    size_t most = client->awaited < sizeof chunk ? client->awaited : sizeof chunk;
    ssize_t got = recv(client->fd, chunk, most, 0);
    if (got < 0 && try_again())
        return;
    if (got == 0)
        errno = ECONNRESET; /* the server closed the connection */
    if (got <= 0)
        err(1, "client recv");
    client->awaited -= (size_t)got;
    if (client->awaited > 0)
        return;
    if (!counting) {
        clients_waiting--;
        return;
    }
    round_trips++;
    start_round_trip(client);
}

/* Where the listener lives in this process it accepts after each connect, so that its backlog never fills. */
static void connect_clients(struct endpoint *server)
{
    clients = zeroed(client_count, sizeof *clients);
    for (struct endpoint *client = clients; client < clients + client_count; client++) {
        client->kind = CLIENT;
        client->fd = open_socket(0);
        checked(connect(client->fd, (struct sockaddr *)&server_address, sizeof server_address), "connect");
        checked(fcntl(client->fd, F_SETFL, O_NONBLOCK), "fcntl");
        if (!udp)
            set_option(client->fd, IPPROTO_TCP, TCP_NODELAY, 1);
        watch(client, EPOLLIN);
        if (server->kind == LISTENER)
            accept_all(server);
    }
}

/* One turn of the loop; true when the timer rang. */
static bool turn(void)
{
    struct epoll_event events[EVENTS_PER_TURN];
    uint64_t expirations;
    bool rang = false;
    int count = epoll_wait(loop_fd, events, EVENTS_PER_TURN, -1);
    if (count < 0 && errno != EINTR)
        err(1, "epoll_wait");
    for (int i = 0; i < count; i++) {
        struct endpoint *e = events[i].data.ptr;
        if (e->kind == TIMER)
            rang = read(e->fd, &expirations, sizeof expirations) > 0;
        else if (e->kind == LISTENER)
            accept_all(e);
        else if (e->kind == SERVER_CONNECTION)
            echo_stream(e);
        else if (e->kind == SERVER_DATAGRAMS)
            echo_datagrams(e);
        else if (events[i].events & ~(uint32_t)EPOLLOUT)
            read_answer(e);
        else if (e->unsent > 0)
            send_rest(e);
    }
    return rang;
}

static void run_server(double seconds)
{
    printf("{\"port\": %u}\n", (unsigned)ntohs(server_address.sin_port));
    fflush(stdout);
    arm_timer(seconds);
    while (!turn())
        continue;
}

static void run_clients(double seconds)
{
    counting = true;
    clients_waiting = client_count;
    double start_s = now_s();
    arm_timer(seconds);
    for (size_t i = 0; i < client_count; i++)
        start_round_trip(&clients[i]);
    while (!turn())
        continue;
    double elapsed_s = now_s() - start_s;

    counting = false;
    arm_timer(DRAIN_S);
    while (clients_waiting > 0 && !turn())
        continue;
    if (clients_waiting > 0)
        errx(1, "%zu of %zu clients got no answer; use fewer or raise net.core.rmem_max", clients_waiting, client_count);
    printf("{\"round_trips\": %llu, \"elapsed_s\": %.6f, \"round_trips_per_s\": %.1f}\n", round_trips, elapsed_s,
           (double)round_trips / elapsed_s);
}

static void usage(void)
{
    fputs("usage: echo_pair tcp|udp CONNECTIONS BYTES SECONDS\n"
          "       echo_pair server tcp|udp SECONDS\n"
          "       echo_pair swarm PORT tcp|udp CONNECTIONS BYTES SECONDS\n", stderr);
    exit(2);
}

static double number(const char *text, double least, double most)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= least && value <= most))
        usage();
    return value;
}

int main(int count, char **words)
{
    struct endpoint server = {0};
    bool server_alone = count == 4 && strcmp(words[1], "server") == 0;
    bool swarm_alone = count == 7 && strcmp(words[1], "swarm") == 0;
    if (!server_alone && !swarm_alone && count != 5)
        usage();
    char **setup = words + (server_alone ? 2 : swarm_alone ? 3 : 1); /* tcp|udp, then the swarm */
    udp = strcmp(setup[0], "udp") == 0;
    if (!udp && strcmp(setup[0], "tcp") != 0)
        usage();
    double seconds = number(words[count - 1], 0.001, 86400);
    alarm((unsigned)seconds + DRAIN_S + SPARE_S);
    loop_fd = checked(epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
    timer.fd = checked(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC), "timerfd_create");
    watch(&timer, EPOLLIN);

    server_address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (swarm_alone)
        server_address.sin_port = htons((uint16_t)number(words[2], 1, 65535));
    else
        start_server(&server);
    if (server_alone) {
        run_server(seconds);
        return 0;
    }
    client_count = (size_t)number(setup[1], 1, 1e6);
    message_bytes = (size_t)number(setup[2], 1, udp ? LARGEST_DATAGRAM_BYTES : 1 << 30);
    message = zeroed(message_bytes, 1);
    connect_clients(&server);
    run_clients(seconds);
    return 0;
}
