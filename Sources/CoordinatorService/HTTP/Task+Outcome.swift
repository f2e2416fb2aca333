extension Task where Failure == Never {
    /// Its value if that comes within `limit`; nil when it does not, or when who asks is cancelled. The task goes on: a database that
    /// hangs keeps it, and nobody who asks.
    func outcome(within limit: Duration) async -> Success? {
        let (answers, answer) = AsyncStream<Success?>.makeStream()
        let asked = Task<Void, Never> { answer.yield(await value) }
        let timer = Task<Void, Never> {
            if (try? await Task<Never, Never>.sleep(for: limit)) != nil { answer.yield(nil) }
        }
        defer {
            asked.cancel()
            timer.cancel()
        }
        // Whichever comes first.
        for await first in answers { return first }
        return nil
    }
}
