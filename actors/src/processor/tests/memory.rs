//! What a robot takes of memory. With 100,000 robots in a process that is what they cost, so the
//! parts are printed (`--nocapture`), and their sum has a bound.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use super::*;

thread_local! {
    /// What this thread has taken of the heap and not given back, bytes.
    static TAKEN: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, which counts.
struct Counting;

#[allow(unsafe_code)]
// SAFETY: all is done by the system's allocator; counting neither allocates nor panics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        TAKEN.set(TAKEN.get().wrapping_add(layout.size()));
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        TAKEN.set(TAKEN.get().wrapping_sub(layout.size()));
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Most that a robot may take, bytes.
const BASIC_MAX: usize = 2_400;
const FULL_MAX: usize = 3_000;

/// A value and what it takes of the heap, bytes.
fn weighed<T>(make: impl FnOnce() -> T) -> (T, usize) {
    let before = TAKEN.get();
    let value = make();
    (value, TAKEN.get().wrapping_sub(before))
}

/// A robot after some records of one dataset.
fn lived(config: &Arc<ProcessorConfig>) -> Processor {
    let mut processor = Processor::new("robot-00001", config.clone());
    let samples: Vec<Sample> = (0..20).map(|at| (at, at + 1, 70.0, None)).collect();
    let rows: Vec<u32> = (0..20).collect();
    processor.apply(0, &telemetry(&samples), &rows, &mut Outputs::default());
    processor
}

#[test]
fn a_robot_of_one_dataset_takes_few_kilobytes() {
    for (set, bound) in [
        (AggregateSet::Basic, BASIC_MAX),
        (AggregateSet::Full, FULL_MAX),
    ] {
        let mut config = Arc::unwrap_or_clone(config(None));
        config.windows = WindowPlan::new(config.windows.specs().to_vec(), set).unwrap();
        let config = Arc::new(config);
        let stored = lived(&config).snapshot();
        let restore = || Processor::restore("robot-00001", &stored, config.clone()).unwrap();
        let (processor, restored) = weighed(restore);
        // What is kept for each thread is there by now.
        let (_, grown) = weighed(|| lived(&config));
        let inline = size_of::<Processor>();
        println!("{set:?}: {inline} bytes itself; of the heap {restored} restored, {grown} grown");
        macro_rules! print_parts {
            ($($part:ident)*) => {$(
                let (part, heap) = weighed(|| processor.state.$part.clone());
                println!("  {:>6} {heap:>6} {}", size_of_val(&part), stringify!($part));
            )*};
        }
        print_parts!(positions counters robot procedures entities record registry alerts control);
        for (part, inline, heap) in processor.state.robot.weigh(&weighed_part) {
            println!("  {inline:>6} {heap:>6} robot.{part}");
        }
        let taken = inline + restored.max(grown);
        assert!(taken <= bound, "{taken} bytes are more than {bound}");
    }
}

fn weighed_part(make: &dyn Fn() -> Box<dyn std::any::Any>) -> usize {
    let (part, heap) = weighed(make);
    heap - size_of_val(&*part)
}
