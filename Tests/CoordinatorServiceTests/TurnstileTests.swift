import CoordinatorService
import Testing

struct TurnstileTests {
    private actor Room {
        var inside = 0
        var most = 0

        func enter() {
            inside += 1
            most = max(most, inside)
        }

        func leave() { inside -= 1 }
    }

    @Test(arguments: [1, 3]) func onlySoManyPassAtATime(count: Int) async {
        let turnstile = Turnstile(count)
        let room = Room()
        let passed = await withTaskGroup { group in
            for number in 0..<100 {
                group.addTask {
                    await turnstile.pass {
                        await room.enter()
                        for _ in 0..<20 { await Task.yield() }
                        await room.leave()
                        return number
                    }
                }
            }
            return await group.reduce(into: Set()) { $0.insert($1) }
        }
        #expect(passed.count == 100)
        #expect(await room.most == count)
        #expect(await room.inside == 0)
    }

    @Test func whoFailsLeaves() async {
        struct Failure: Error {}
        let turnstile = Turnstile(1)
        for _ in 0..<3 { await #expect(throws: Failure.self) { try await turnstile.pass { throw Failure() } } }
        #expect(await turnstile.pass { 7 } == 7)
    }
}
