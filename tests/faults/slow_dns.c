/* Preloaded: names that begin with "slow" take 20 seconds to resolve, as when their name server is gone. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <string.h>
#include <unistd.h>

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found)
{
	int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
	real = (int (*)(const char *, const char *, const struct addrinfo *, struct addrinfo **))dlsym(RTLD_NEXT, "getaddrinfo");
	if (node && strncmp(node, "slow", 4) == 0) {
		sleep(20);
		return EAI_AGAIN;
	}
	return real(node, service, hints, found);
}
