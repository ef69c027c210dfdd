;; Takes memory until there is none, then gives up as a language's runtime does.
(func $describe (result i32) (i32.const 2048))
(func $run (param i32 i32) (result i32)
  (loop $more
    (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
  (unreachable))
