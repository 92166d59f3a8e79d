/*
 * A stand-in for NVIDIA's management library, loaded the way the real one is: by its name, through
 * the loader's path. It knows the calls the agent makes, with the types and codes of nvml.h.
 *
 * What it answers is read from the file named by FAKE_NVML, anew at every call, one `key=value` a
 * line, so that a test changes the machine while the agent runs:
 *
 *   count=2                        how many cards there are
 *   driver=570.86.15
 *   0.name= 0.uuid= 0.memory_mib= 0.used_mib= 0.temperature= 0.busy= 0.slowdown= 0.throttle= 0.ecc=
 *   0.mig=2                        card 0 is cut into two slices
 *   0.1.name= 0.1.uuid= …          slice 1 of card 0; its GPU instance is 1 + 1
 *   0.epoch=1                      handles taken while it had another value are lost for good
 *   xids=0:79,1:48:2               critical errors so far: card:xid[:instance]; each told once to
 *                                  who listened before it was added
 *
 * and any call may be made to fail, wait, or never return:
 *
 *   nvmlDeviceGetTemperature=999   this code, for every card
 *   0.nvmlDeviceGetTemperature=15  for card 0
 *   0.*=15                         every call on card 0
 *   nvmlInitWithFlags=hang         never returns
 *   nvmlInitWithFlags=slow:300     returns well, after so many milliseconds
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    OK = 0,
    UNINITIALIZED = 1,
    INVALID_ARGUMENT = 2,
    NOT_SUPPORTED = 3,
    NOT_FOUND = 6,
    TIMEOUT = 10,
    GPU_IS_LOST = 15
};

#define CARDS 16
#define SLICES 8
#define WHOLE (-1)

typedef struct {
    int card;
    int slice;
} Device;
typedef Device *Handle;

typedef struct {
    unsigned long long total, free, used;
} Memory;
typedef struct {
    unsigned int version;
    unsigned long long total, reserved, free, used;
} MemoryV2;
typedef struct {
    unsigned int gpu, memory;
} Utilization;
typedef struct {
    Handle device;
    unsigned long long type, data;
    unsigned int instance, compute_instance;
} EventData;

static Device wholes[CARDS], slices[CARDS][SLICES];
static int running, epochs[CARDS], listening[CARDS];
static int xids_told;

/* The value of a key in the file as it is now; 0 if there is none. Not for several threads. */
static const char *value(const char *key)
{
    static char line[4096];
    const char *path = getenv("FAKE_NVML");
    size_t length = strlen(key);
    FILE *file = path ? fopen(path, "r") : NULL;
    const char *found = NULL;
    if (!file)
        return NULL;
    while (!found && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        if (!strncmp(line, key, length) && line[length] == '=')
            found = line + length + 1;
    }
    fclose(file);
    return found;
}

static long number(const char *key, long otherwise)
{
    const char *found = value(key);
    return found && *found ? strtol(found, NULL, 0) : otherwise;
}

static const char *key_of(Handle device, const char *name)
{
    static char key[256];
    if (device->slice == WHOLE)
        snprintf(key, sizeof key, "%d.%s", device->card, name);
    else
        snprintf(key, sizeof key, "%d.%d.%s", device->card, device->slice, name);
    return key;
}

static int outcome(const char *said)
{
    if (!said)
        return OK;
    if (!strcmp(said, "hang"))
        for (;;)
            pause();
    if (!strncmp(said, "slow:", 5)) {
        usleep(1000 * atoi(said + 5));
        return OK;
    }
    return atoi(said);
}

/* How a call ends that concerns no card. */
static int called(const char *function)
{
    int code = outcome(value(function));
    return code ? code : running ? OK : UNINITIALIZED;
}

/* How a call on a card ends. */
static int asked(Handle device, const char *function)
{
    char key[256];
    const char *said;
    if (!device)
        return INVALID_ARGUMENT;
    snprintf(key, sizeof key, "%d.epoch", device->card);
    if (running && number(key, 0) != epochs[device->card])
        return GPU_IS_LOST;
    snprintf(key, sizeof key, "%d.%s", device->card, function);
    if (!(said = value(key))) {
        snprintf(key, sizeof key, "%d.*", device->card);
        said = value(key);
    }
    int code = outcome(said);
    return code ? code : called(function);
}

static int told_text(Handle device, const char *name, char *into, unsigned int size)
{
    const char *found = value(key_of(device, name));
    if (!found)
        return NOT_SUPPORTED;
    snprintf(into, size, "%s", found);
    return OK;
}

static int told_number(Handle device, const char *name, long *into)
{
    *into = number(key_of(device, name), -1);
    return *into < 0 ? NOT_SUPPORTED : OK;
}

/* The library as a whole */

int nvmlInitWithFlags(unsigned int flags)
{
    char key[32];
    (void)flags;
    int code = outcome(value("nvmlInitWithFlags"));
    if (code)
        return code;
    running = 1;
    for (int card = 0; card < CARDS; card++) {
        snprintf(key, sizeof key, "%d.epoch", card);
        epochs[card] = (int)number(key, 0);
        wholes[card].card = card;
        wholes[card].slice = WHOLE;
        for (int slice = 0; slice < SLICES; slice++) {
            slices[card][slice].card = card;
            slices[card][slice].slice = slice;
        }
    }
    return OK;
}

int nvmlShutdown(void)
{
    int code = called("nvmlShutdown");
    running = 0;
    memset(listening, 0, sizeof listening);
    return code;
}

const char *nvmlErrorString(int code)
{
    (void)code;
    return "an error of the fake library";
}

int nvmlSystemGetDriverVersion(char *version, unsigned int size)
{
    const char *found;
    int code = called("nvmlSystemGetDriverVersion");
    if (code)
        return code;
    found = value("driver");
    snprintf(version, size, "%s", found ? found : "0.0");
    return OK;
}

int nvmlDeviceGetCount_v2(unsigned int *count)
{
    int code = called("nvmlDeviceGetCount_v2");
    *count = (unsigned int)number("count", 0);
    return code;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, Handle *device)
{
    if (index >= CARDS || index >= number("count", 0))
        return INVALID_ARGUMENT;
    *device = &wholes[index];
    return asked(*device, "nvmlDeviceGetHandleByIndex_v2");
}

/* One card */

int nvmlDeviceGetName(Handle device, char *name, unsigned int size)
{
    int code = asked(device, "nvmlDeviceGetName");
    return code ? code : told_text(device, "name", name, size);
}

int nvmlDeviceGetUUID(Handle device, char *uuid, unsigned int size)
{
    int code = asked(device, "nvmlDeviceGetUUID");
    return code ? code : told_text(device, "uuid", uuid, size);
}

static int memory(Handle device, unsigned long long *total, unsigned long long *used)
{
    long whole, part = number(key_of(device, "used_mib"), 0);
    int code = told_number(device, "memory_mib", &whole);
    *total = (unsigned long long)whole << 20;
    *used = (unsigned long long)part << 20;
    return code;
}

int nvmlDeviceGetMemoryInfo(Handle device, Memory *info)
{
    int code = asked(device, "nvmlDeviceGetMemoryInfo");
    return code ? code : memory(device, &info->total, &info->used);
}

int nvmlDeviceGetMemoryInfo_v2(Handle device, MemoryV2 *info)
{
    int code = asked(device, "nvmlDeviceGetMemoryInfo_v2");
    return code ? code : memory(device, &info->total, &info->used);
}

int nvmlDeviceGetUtilizationRates(Handle device, Utilization *rates)
{
    long busy;
    int code = asked(device, "nvmlDeviceGetUtilizationRates");
    if (!code && !(code = told_number(device, "busy", &busy)))
        rates->gpu = (unsigned int)busy;
    return code;
}

int nvmlDeviceGetTemperature(Handle device, int sensor, unsigned int *celsius)
{
    long told;
    int code = asked(device, "nvmlDeviceGetTemperature");
    (void)sensor;
    if (!code && !(code = told_number(device, "temperature", &told)))
        *celsius = (unsigned int)told;
    return code;
}

int nvmlDeviceGetTemperatureThreshold(Handle device, int kind, unsigned int *celsius)
{
    long told;
    int code = asked(device, "nvmlDeviceGetTemperatureThreshold");
    (void)kind;
    if (!code && !(code = told_number(device, "slowdown", &told)))
        *celsius = (unsigned int)told;
    return code;
}

int nvmlDeviceGetCurrentClocksThrottleReasons(Handle device, unsigned long long *reasons)
{
    long told;
    int code = asked(device, "nvmlDeviceGetCurrentClocksThrottleReasons");
    if (!code && !(code = told_number(device, "throttle", &told)))
        *reasons = (unsigned long long)told;
    return code;
}

int nvmlDeviceGetTotalEccErrors(Handle device, int kind, int counter, unsigned long long *count)
{
    long told;
    int code = asked(device, "nvmlDeviceGetTotalEccErrors");
    (void)kind, (void)counter;
    if (!code && !(code = told_number(device, "ecc", &told)))
        *count = (unsigned long long)told;
    return code;
}

/* Slices */

int nvmlDeviceGetMigMode(Handle device, unsigned int *current, unsigned int *pending)
{
    int code = asked(device, "nvmlDeviceGetMigMode");
    if (!code && !value(key_of(device, "mig")))
        code = NOT_SUPPORTED;
    *current = *pending = 1;
    return code;
}

int nvmlDeviceGetMaxMigDeviceCount(Handle device, unsigned int *count)
{
    int code = asked(device, "nvmlDeviceGetMaxMigDeviceCount");
    *count = SLICES;
    return code;
}

int nvmlDeviceGetMigDeviceHandleByIndex(Handle device, unsigned int index, Handle *slice)
{
    int code = asked(device, "nvmlDeviceGetMigDeviceHandleByIndex");
    if (code)
        return code;
    if (index >= SLICES || index >= number(key_of(device, "mig"), 0))
        return NOT_FOUND;
    *slice = &slices[device->card][index];
    return OK;
}

int nvmlDeviceGetGpuInstanceId(Handle device, unsigned int *instance)
{
    int code = asked(device, "nvmlDeviceGetGpuInstanceId");
    *instance = (unsigned int)(device->slice + 1);
    return code;
}

/* Events */

/* The at-th entry of `xids` (from 0): whether there is one. */
static int entry(int at, int *card, int *xid, unsigned int *instance)
{
    const char *found = value("xids");
    for (; found && *found && at > 0; at--) {
        found = strchr(found, ',');
        found = found ? found + 1 : NULL;
    }
    if (!found || !*found)
        return 0;
    *instance = 0xFFFFFFFF;
    return sscanf(found, "%d:%d:%u", card, xid, instance) >= 2;
}

int nvmlEventSetCreate(void **set)
{
    int card, xid, code = called("nvmlEventSetCreate");
    unsigned int instance;
    *set = &xids_told;
    for (xids_told = 0; entry(xids_told, &card, &xid, &instance);)
        xids_told++;
    return code;
}

int nvmlDeviceRegisterEvents(Handle device, unsigned long long types, void *set)
{
    int code = asked(device, "nvmlDeviceRegisterEvents");
    (void)types, (void)set;
    listening[device->card] = !code;
    return code;
}

int nvmlEventSetWait_v2(void *set, EventData *data, unsigned int milliseconds)
{
    int card, xid, code = called("nvmlEventSetWait_v2");
    unsigned int instance;
    (void)set, (void)milliseconds;
    if (code)
        return code;
    while (entry(xids_told, &card, &xid, &instance)) {
        xids_told++;
        if (!listening[card])
            continue;
        data->device = &wholes[card];
        data->type = 8;
        data->data = (unsigned long long)xid;
        data->instance = instance;
        return OK;
    }
    return TIMEOUT;
}
