/* libssh: ssh_scp_*. Its API walks a tree record by record, so the walking is ours. */

/* Its scp is deprecated; people use it. */
#define SSH_SUPPRESS_DEPRECATED
#include <dirent.h>
#include <fcntl.h>
#include <libgen.h>
#include <libssh/libssh.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static ssh_session session;
static char buffer[64 * 1024];

static void die(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, session ? ssh_get_error(session) : "");
    exit(1);
}

static const char *base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static void push(ssh_scp scp, const char *path)
{
    struct stat about;
    if (stat(path, &about) != 0)
        die(path);
    if (S_ISDIR(about.st_mode)) {
        struct dirent *entry;
        DIR *dir = opendir(path);
        if (!dir || ssh_scp_push_directory(scp, base(path), about.st_mode & 07777) != SSH_OK)
            die(path);
        while ((entry = readdir(dir))) {
            char below[PATH_MAX];
            if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
                continue;
            snprintf(below, sizeof below, "%s/%s", path, entry->d_name);
            push(scp, below);
        }
        closedir(dir);
        if (ssh_scp_leave_directory(scp) != SSH_OK)
            die(path);
        return;
    }
    int file = open(path, O_RDONLY);
    ssize_t some;
    if (file < 0 || ssh_scp_push_file64(scp, base(path), about.st_size, about.st_mode & 07777) != SSH_OK)
        die(path);
    /* At least once: it ends a file only in this call. */
    do {
        some = read(file, buffer, sizeof buffer);
        if (some < 0 || ssh_scp_write(scp, buffer, some) != SSH_OK)
            die(path);
    } while (some > 0 && lseek(file, 0, SEEK_CUR) < about.st_size);
    close(file);
}

/* Stores what comes; a single file under the name that was asked for. */
static void pull(ssh_scp scp, const char *target)
{
    char place[PATH_MAX];
    struct stat about;
    int into = stat(target, &about) == 0 && S_ISDIR(about.st_mode);
    snprintf(place, sizeof place, "%s", target);
    for (;;) {
        int request = ssh_scp_pull_request(scp);
        if (request == SSH_SCP_REQUEST_EOF)
            return;
        if (request == SSH_SCP_REQUEST_ENDDIR) {
            dirname(place);
            continue;
        }
        if (request != SSH_SCP_REQUEST_NEWFILE && request != SSH_SCP_REQUEST_NEWDIR)
            die("pull");
        size_t length = strlen(place);
        if (into)
            snprintf(place + length, sizeof place - length, "/%s", ssh_scp_request_get_filename(scp));
        mode_t mode = ssh_scp_request_get_permissions(scp);
        if (request == SSH_SCP_REQUEST_NEWDIR) {
            mkdir(place, mode);
            ssh_scp_accept_request(scp);
            into = 1;
            continue;
        }
        uint64_t left = ssh_scp_request_get_size64(scp);
        int file = open(place, O_WRONLY | O_CREAT | O_TRUNC, mode);
        if (file < 0)
            die(place);
        ssh_scp_accept_request(scp);
        do {
            int some = ssh_scp_read(scp, buffer, sizeof buffer);
            if (some < 0 || (some == 0 && left > 0) || write(file, buffer, some) != some)
                die(place);
            left -= some;
        } while (left > 0);
        close(file);
        if (into)
            dirname(place);
    }
}

int main(int count, char **words)
{
    int recursive = 0, leaves = 0;
    if (count < 2)
        return 1;
    if (!strcmp(words[1], "leaves")) {
        leaves = 1;
        words++, count--;
    }
    if (!strcmp(words[1], "version")) {
        puts(ssh_version(0));
        return 0;
    }
    int first = 2;
    for (; words[first][0] == '-'; first++)
        if (words[first][1] == 'r')
            recursive = SSH_SCP_RECURSIVE;
    int putting = !strcmp(words[1], "put");
    const char *target = words[count - 1];
    unsigned int port = atoi(getenv("SCP_PORT"));
    int at_once = 1;
    ssh_key key;
    session = ssh_new();
    ssh_options_set(session, SSH_OPTIONS_HOST, getenv("SCP_HOST"));
    ssh_options_set(session, SSH_OPTIONS_PORT, &port);
    ssh_options_set(session, SSH_OPTIONS_NODELAY, &at_once);
    ssh_options_set(session, SSH_OPTIONS_USER, getenv("SCP_USER"));
    ssh_options_set(session, SSH_OPTIONS_KNOWNHOSTS, getenv("SCP_KNOWN_HOSTS"));
    if (ssh_connect(session) != SSH_OK || ssh_session_is_known_server(session) != SSH_KNOWN_HOSTS_OK)
        die("connect");
    if (ssh_pki_import_privkey_file(getenv("SCP_KEY"), NULL, NULL, NULL, &key) != SSH_OK ||
        ssh_userauth_publickey(session, NULL, key) != SSH_AUTH_SUCCESS)
        die("log in");
    if (putting) {
        ssh_scp scp = ssh_scp_new(session, SSH_SCP_WRITE | recursive, target);
        if (!scp || ssh_scp_init(scp) != SSH_OK)
            die(target);
        for (int i = first; i < count - 1; i++)
            push(scp, words[i]);
        if (leaves) {
            ssh_disconnect(session);
            _exit(0);
        }
        if (ssh_scp_close(scp) != SSH_OK)
            die(target);
        ssh_scp_free(scp);
    } else {
        for (int i = first; i < count - 1; i++) {
            ssh_scp scp = ssh_scp_new(session, SSH_SCP_READ | recursive, words[i]);
            if (!scp || ssh_scp_init(scp) != SSH_OK)
                die(words[i]);
            pull(scp, target);
            ssh_scp_close(scp);
            ssh_scp_free(scp);
        }
    }
    ssh_disconnect(session);
    return 0;
}
