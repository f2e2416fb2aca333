import Glibc

/// Runs `body` on `count` threads of their own, with the thread's number, and returns when all have ended.
/// - Parameters:
///   - stackSizeBytes: of each thread; the C library's default can be smaller than the main thread's.
///   - notStarted: called for each thread that the system refused, after which the others must end by themselves.
func runThreads(
    count: Int, stackSizeBytes: Int, notStarted: (Int, CommunicatorError) -> Void,
    _ body: @escaping @Sendable (Int) -> Void
) {
    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    defer { pthread_attr_destroy(&attributes) }
    pthread_attr_setstacksize(&attributes, stackSizeBytes)

    var threads = [pthread_t]()
    for index in 0..<count {
        var thread = pthread_t()
        let start = Unmanaged.passRetained(Start(index: index, body: body))
        let code = pthread_create(
            &thread, &attributes,
            { argument in
                guard let argument else { return nil }
                let start = Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
                start.body(start.index)
                return nil
            }, start.toOpaque())
        if code == 0 {
            threads.append(thread)
        } else {
            start.release()
            let reason = "\(String(cString: strerror(code))); run fewer ranks in this process"
            notStarted(index, .library(call: "pthread_create", code: Int(code), reason: reason))
        }
    }
    for thread in threads { pthread_join(thread, nil) }
}

/// What a new thread gets from the one that starts it.
private final class Start {
    let index: Int
    let body: @Sendable (Int) -> Void

    init(index: Int, body: @escaping @Sendable (Int) -> Void) {
        self.index = index
        self.body = body
    }
}
