// The process that holds a pod's namespaces open while its containers come and go.
//
// It is PID 1 in there: it takes in the dead that nobody else waits for, and ends when it is asked to.
// The three signals are blocked, not handled: the kernel drops a signal that PID 1 has no handler for,
// but not one that it has blocked. See pid_namespaces(7), sigwait(3).

#include <signal.h>
#include <sys/wait.h>

int main(void)
{
    sigset_t awaited;
    sigemptyset(&awaited);
    sigaddset(&awaited, SIGCHLD);
    sigaddset(&awaited, SIGINT);
    sigaddset(&awaited, SIGTERM);
    sigprocmask(SIG_BLOCK, &awaited, 0);

    for (;;) {
        int signal;
        sigwait(&awaited, &signal);
        if (signal != SIGCHLD)
            return 0;
        // One SIGCHLD may stand for several.
        while (waitpid(-1, 0, WNOHANG) > 0)
            ;
    }
}
